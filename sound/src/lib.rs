//! Telephone sound: codecs, jitter buffer, concealment, tones and mixing. Pure values without I/O, clock or lock.
