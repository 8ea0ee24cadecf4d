//! What waits on the disk while the store is down: lines in one file, in order, synced before anybody relies on them.
//!
//! Knows lines of bytes, not what they say (`journal`). A crash while writing leaves a torn last line, which was never
//! relied on and is cut off at the next opening; a write that fails is taken back, so that no later line grows onto half a
//! line. When even this disk fails, lines are held in memory, fewer of them, and go to the file as soon as it takes them again.
//!
//! ```text
//!   push --> [file: replayed | waiting ........] [held in memory] --> next --> store --> done --> file emptied at its end
//! ```

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Lines that wait, oldest first.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    /// Bytes of whole lines in the file.
    len: u64,
    len_max: u64,
    /// Bytes at the beginning of the file that were dealt with.
    done: u64,
    /// Lines in the file that wait.
    waiting: usize,
    held: VecDeque<Vec<u8>>,
    held_bytes: usize,
}

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pushed {
    /// On the disk.
    Synced,
    /// The disk failed: in memory alone.
    Held(io::ErrorKind),
    /// No room: not kept.
    Lost,
}

/// The oldest lines that wait. What was pushed meanwhile is behind them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Without their line ends.
    pub(super) lines: Vec<Vec<u8>>,
    from: Place,
}

#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
enum Place {
    #[default]
    File,
    Memory,
}

impl Spool {
    /// Opens or makes the file and cuts off a torn last line.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, FILE_BYTES_MAX)
    }

    fn with_limit(path: &Path, len_max: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // The file's name must be on the disk before a line in it counts.
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        let (len, waiting) = whole_lines(&mut file)?;
        file.set_len(len)?;
        file.sync_all()?;
        Ok(Self { file, len, len_max, done: 0, waiting, held: VecDeque::new(), held_bytes: 0 })
    }

    /// Lines that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting + self.held.len()
    }

    /// Adds a line behind all others. It holds no line end.
    pub(super) fn push(&mut self, mut line: Vec<u8>) -> Pushed {
        line.push(b'\n');
        let failure = match self.write_held().and_then(|()| self.append(&line)) {
            Ok(true) => return Pushed::Synced,
            Ok(false) => return Pushed::Lost,
            Err(error) => error.kind(),
        };
        if self.held_bytes + line.len() > HELD_BYTES_MAX {
            return Pushed::Lost;
        }
        self.held_bytes += line.len();
        self.held.push_back(line);
        Pushed::Held(failure)
    }

    /// The oldest lines, at most so many; none when none wait.
    pub(super) fn next(&mut self, lines_max: usize) -> io::Result<Waiting> {
        if self.waiting == 0 {
            let lines = self.held.iter().take(lines_max).map(|line| without_end(line)).collect();
            return Ok(Waiting { lines, from: Place::Memory });
        }
        let mut bytes = vec![0; usize::try_from(self.len - self.done).unwrap_or(usize::MAX).min(READ_BYTES)];
        self.file.read_exact_at(&mut bytes, self.done)?;
        // A line is shorter than what is read at once: at least one is whole.
        let whole = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let lines = whole.take(lines_max).map(without_end).collect();
        Ok(Waiting { lines, from: Place::File })
    }

    /// The first of them were dealt with, and are forgotten.
    pub(super) fn done(&mut self, waiting: &Waiting, lines: usize) -> io::Result<()> {
        for line in waiting.lines.iter().take(lines) {
            match waiting.from {
                Place::File => {
                    self.done += line.len() as u64 + 1;
                    self.waiting -= 1;
                }
                Place::Memory => {
                    self.held_bytes -= self.held.pop_front().map_or(0, |line| line.len());
                }
            }
        }
        if self.waiting == 0 && self.done > 0 {
            // A crash before this is on the disk repeats these lines, which changes nothing: each entry is stored once.
            self.file.set_len(0)?;
            (self.len, self.done) = (0, 0);
            self.file.sync_all()?;
        }
        Ok(())
    }

    /// What is held goes first, or the order would be lost.
    fn write_held(&mut self) -> io::Result<()> {
        while let Some(line) = self.held.pop_front() {
            match self.append(&line) {
                Ok(true) => self.held_bytes -= line.len(),
                full_or_failed => {
                    self.held.push_front(line);
                    return full_or_failed.and(Err(io::ErrorKind::StorageFull.into()));
                }
            }
        }
        Ok(())
    }

    /// False when the file is full.
    fn append(&mut self, line: &[u8]) -> io::Result<bool> {
        if self.len + line.len() as u64 > self.len_max || line.len() > LINE_BYTES_MAX {
            return Ok(false);
        }
        let mut write = || {
            self.file.seek(SeekFrom::Start(self.len))?;
            self.file.write_all(line)?;
            self.file.sync_data()
        };
        if let Err(error) = write() {
            // Half a line must not stay; if even this fails, the next opening cuts it off, and the next line overwrites it.
            self.file.set_len(self.len).ok();
            return Err(error);
        }
        self.len += line.len() as u64;
        self.waiting += 1;
        Ok(true)
    }
}

/// Bytes and number of the lines that have their end.
fn whole_lines(file: &mut File) -> io::Result<(u64, usize)> {
    let (mut len, mut lines, mut read) = (0, 0, 0);
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok((len, lines)),
            count => {
                for (at, _) in bytes[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                    len = read + at as u64 + 1;
                    lines += 1;
                }
                read += count as u64;
            }
        }
    }
}

fn without_end(line: &[u8]) -> Vec<u8> {
    line.strip_suffix(b"\n").unwrap_or(line).to_vec()
}

/// Some 200,000 entries: a day of a busy server. More would take long to store later; fewer would lose an outage's end.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Some 4,000 entries, for minutes without either disk. More would be memory that a full server lacks.
const HELD_BYTES_MAX: usize = 1 << 20;
/// Read at once. Not below the longest line.
const READ_BYTES: usize = 1 << 20;
/// The longest line; a batch of the journal is far shorter.
const LINE_BYTES_MAX: usize = READ_BYTES;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    struct TempFile(PathBuf);

    impl TempFile {
        fn new() -> Self {
            let name = format!("colloque-spool-{}-{:x}", std::process::id(), rand::random::<u64>());
            Self(std::env::temp_dir().join(name))
        }

        fn holding(bytes: &[u8]) -> Self {
            let file = Self::new();
            std::fs::write(&file.0, bytes).unwrap();
            file
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).ok();
        }
    }

    fn texts(waiting: &Waiting) -> Vec<&str> {
        waiting.lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn lines_come_out_in_order_and_again_until_they_are_done() {
        let file = TempFile::new();
        let mut spool = Spool::open(&file.0).unwrap();
        for line in ["one", "two", "three"] {
            assert_eq!(spool.push(line.into()), Pushed::Synced);
        }
        let first = spool.next(2).unwrap();
        assert_eq!(texts(&first), ["one", "two"]);
        assert_eq!(texts(&spool.next(2).unwrap()), ["one", "two"]);
        spool.done(&first, 1).unwrap();
        // What comes while lines are being stored goes behind all of them.
        spool.push("four".into());
        let rest = spool.next(9).unwrap();
        assert_eq!((texts(&rest), spool.waiting()), (vec!["two", "three", "four"], 3));
        spool.done(&rest, 3).unwrap();
        assert_eq!((spool.waiting(), std::fs::metadata(&file.0).unwrap().len()), (0, 0));
        assert!(spool.next(9).unwrap().lines.is_empty());
        spool.push("five".into());
        assert_eq!(texts(&spool.next(9).unwrap()), ["five"]);
    }

    #[test]
    fn what_was_pushed_outlives_the_process() {
        let file = TempFile::new();
        let mut spool = Spool::open(&file.0).unwrap();
        spool.push("one".into());
        spool.push("two".into());
        let first = spool.next(1).unwrap();
        spool.done(&first, 1).unwrap();
        drop(spool);
        // A line that was done may come again: whoever stores it does so once.
        let mut spool = Spool::open(&file.0).unwrap();
        assert_eq!((texts(&spool.next(9).unwrap()), spool.waiting()), (vec!["one", "two"], 2));
    }

    #[test]
    fn a_crash_at_any_byte_keeps_every_whole_line_and_no_other() {
        let whole = b"{\"first\":1}\n{\"second\":2}\n{\"third\":3}\n";
        for cut in 0..=whole.len() {
            let file = TempFile::holding(&whole[..cut]);
            let mut spool = Spool::open(&file.0).unwrap();
            let ends = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(spool.waiting(), ends, "cut at {cut}");
            spool.push("later".into());
            let all = spool.next(9).unwrap();
            let expected = ["{\"first\":1}", "{\"second\":2}", "{\"third\":3}"];
            assert_eq!(texts(&all)[..ends], expected[..ends], "cut at {cut}");
            assert_eq!(texts(&all)[ends..], ["later"], "cut at {cut}");
        }
    }

    #[test]
    fn more_than_is_read_at_once_comes_in_pieces() {
        let file = TempFile::new();
        let mut spool = Spool::open(&file.0).unwrap();
        for number in 0..30u8 {
            assert_eq!(spool.push(vec![b'a' + number % 26; 100_000]), Pushed::Synced);
        }
        let mut spool = Spool::open(&file.0).unwrap();
        let mut seen = Vec::new();
        while spool.waiting() > 0 {
            let some = spool.next(usize::MAX).unwrap();
            assert!(!some.lines.is_empty());
            seen.extend(some.lines.iter().map(|line| (line[0], line.len())));
            spool.done(&some, some.lines.len()).unwrap();
        }
        let expected: Vec<_> = (0..30u8).map(|number| (b'a' + number % 26, 100_000)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_full_file_refuses_what_is_new_and_keeps_what_is_old() {
        let file = TempFile::new();
        let mut spool = Spool::with_limit(&file.0, 10).unwrap();
        assert_eq!(spool.push("12345".into()), Pushed::Synced);
        assert_eq!(spool.push("12345".into()), Pushed::Lost);
        assert_eq!(spool.push("123".into()), Pushed::Synced);
        assert_eq!(texts(&spool.next(9).unwrap()), ["12345", "123"]);
    }

    #[test]
    fn a_disk_that_fails_leaves_lines_in_memory_behind_those_in_the_file() {
        let file = TempFile::holding(b"one\n");
        let mut spool = Spool::open(&file.0).unwrap();
        // Every write to a file that is open for reading alone fails.
        let writable = std::mem::replace(&mut spool.file, File::open(&file.0).unwrap());
        assert!(matches!(spool.push("two".into()), Pushed::Held(_)));
        assert!(matches!(spool.push("three".into()), Pushed::Held(_)));
        assert_eq!(spool.waiting(), 3);
        spool.file = writable;
        assert_eq!(spool.push("four".into()), Pushed::Synced);
        assert_eq!(texts(&spool.next(9).unwrap()), ["one", "two", "three", "four"]);
        assert_eq!(spool.held_bytes, 0);
    }

    #[test]
    fn what_is_held_in_memory_can_be_stored_without_the_file() {
        let file = TempFile::new();
        let mut spool = Spool::open(&file.0).unwrap();
        spool.file = File::open(&file.0).unwrap();
        let mut kept = 0;
        while matches!(spool.push(vec![b'x'; 1000]), Pushed::Held(_)) {
            kept += 1;
        }
        assert_eq!(kept, HELD_BYTES_MAX / 1001, "memory is bounded");
        while spool.waiting() > 0 {
            let some = spool.next(100).unwrap();
            spool.done(&some, some.lines.len()).unwrap();
        }
        assert_eq!(spool.held_bytes, 0);
    }
}
