-- What a clinic has used of its minutes of the day, read once at a start: the journal has no other index by time.
CREATE INDEX journal_of_minutes ON journal (at) WHERE kind IN ('phone.charged', 'phone.minutes_used');
