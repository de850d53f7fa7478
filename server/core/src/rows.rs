//! A row file: one header page with gauges, then fixed-size rows, mapped `MAP_SHARED`. The format is docs/rows.md.
//!
//! Owns the mapping as long as anybody holds the file: a thread that outlives the drain may still write to a row, and then holds it. Dirty
//! pages belong to the kernel, so every store survives `kill -9`. Files grow by whole allocated segments (a hole on a full disk would end
//! the process with SIGBUS) and never wrap; a row that finds no room is counted as unwritten.

use std::{
    ffi::c_void,
    fs::{File, OpenOptions},
    io,
    os::fd::AsRawFd,
    path::Path,
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicPtr, AtomicU64, Ordering},
    },
};

use crate::clock;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 16_384;
/// Bytes of a row of the kinds written here.
pub const ROW_BYTES: usize = 64;
/// Number of gauge words in the header.
pub const GAUGES: usize = 96;

const MAGIC: u64 = u64::from_le_bytes(*b"AFTROWS1");
const ROW_WORDS: usize = ROW_BYTES / 8;
const SEGMENT_ROWS: usize = 65_536;
const SEGMENTS: usize = 16_384;
const GAUGES_AT: usize = 256 / 8;
const SETTINGS_AT: usize = 1024 / 8;
const NAMES_AT: usize = 4096;
const NAME_BYTES: usize = 64;
/// Names that the header can hold, the empty one included.
pub const NAMES: usize = 192;
const LABEL_AT: usize = 128;
// Header fields, as word numbers.
const PID: usize = 3;
const BOOT: usize = 4;
const CREATED: usize = 5;
const CREATED_UNIX: usize = 6;
const CLAIMED: usize = 7;
const CLOSED: usize = 8;
const UNWRITTEN: usize = 9;
const NAMES_USED: usize = 10;

/// What a file's rows say.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Kind {
    /// One row a task attempt, written by the server.
    Tasks = 2,
    /// One row an effect, written by the world.
    Effects = 3,
}

/// The number of a claimed row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(u64);

/// A growing file of rows, shared by all threads of its writer.
pub struct RowFile {
    file: File,
    header: *mut u8,
    segments: Box<[AtomicPtr<AtomicU64>]>,
    growing: Mutex<()>,
    names: Mutex<Vec<String>>,
}

// SAFETY: every shared word behind the pointers is an `AtomicU64`; the label and the names are written under a lock or before sharing.
unsafe impl Send for RowFile {}
// SAFETY: as above.
unsafe impl Sync for RowFile {}

impl RowFile {
    /// Creates the file.
    ///
    /// # Errors
    /// If it exists (an account is never overwritten), cannot be made, or there is no room for its header.
    pub fn create(path: &Path, kind: Kind, boot: u64, label: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        allocate(&file, 0, HEADER_BYTES)?;
        let header = map(&file, 0, HEADER_BYTES)?.cast::<u8>();
        let segments = (0..SEGMENTS).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        let rows = Self { file, header, segments, growing: Mutex::new(()), names: Mutex::new(vec![String::new()]) };
        rows.word(1).store(1 | (kind as u64) << 32, Ordering::Relaxed);
        rows.word(2).store(ROW_BYTES as u64 | (HEADER_BYTES as u64) << 32, Ordering::Relaxed);
        rows.word(PID).store(u64::from(std::process::id()), Ordering::Relaxed);
        rows.word(BOOT).store(boot, Ordering::Relaxed);
        rows.word(CREATED).store(clock::now_ns(), Ordering::Relaxed);
        rows.word(CREATED_UNIX).store(clock::unix_ns(), Ordering::Relaxed);
        rows.word(NAMES_USED).store(1, Ordering::Relaxed);
        rows.write_text(LABEL_AT, label);
        rows.grow(0)?;
        rows.word(0).store(MAGIC, Ordering::Release);
        Ok(rows)
    }

    /// Claims the next row. None if there is no room for it, which the header counts.
    pub fn claim(&self) -> Option<Row> {
        let number = self.word(CLAIMED).fetch_add(1, Ordering::Relaxed);
        let segment = usize::try_from(number).unwrap_or(usize::MAX) / SEGMENT_ROWS;
        let known = self.segments.get(segment).is_some_and(|start| !start.load(Ordering::Acquire).is_null());
        if known || self.grow(segment).is_ok() {
            return Some(Row(number));
        }
        self.word(UNWRITTEN).fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Stores one 8-byte word of a row; word 0 publishes it and comes last.
    pub fn store(&self, row: Row, word: usize, value: u64) {
        if let Some(place) = self.place(row, word) {
            place.store(value, Ordering::Release);
        }
    }

    /// Sets bits in a word of a row.
    pub fn set_bits(&self, row: Row, word: usize, bits: u64) {
        if let Some(place) = self.place(row, word) {
            place.fetch_or(bits, Ordering::AcqRel);
        }
    }

    /// Gauge word `number`, below [`GAUGES`].
    pub fn gauge(&self, number: usize) -> &AtomicU64 {
        self.word(GAUGES_AT + number.min(GAUGES - 1))
    }

    /// What the harness asks for in setting `number`.
    pub fn setting(&self, number: usize) -> u64 {
        self.word(SETTINGS_AT + number.min(127)).load(Ordering::Acquire)
    }

    /// The id of a name, entered at first use; 0 once the table is full.
    pub fn name(&self, text: &str) -> u16 {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.iter().position(|name| name == text) {
            return u16::try_from(known).unwrap_or(0);
        }
        let number = names.len();
        if number >= NAMES {
            return 0;
        }
        self.write_text(NAMES_AT + number * NAME_BYTES, text);
        names.push(text.to_owned());
        self.word(NAMES_USED).store(names.len() as u64, Ordering::Release);
        u16::try_from(number).unwrap_or(0)
    }

    /// Marks the file as closed in good order.
    pub fn close(&self) {
        self.word(CLOSED).store(clock::now_ns(), Ordering::Release);
    }

    fn place(&self, row: Row, word: usize) -> Option<&AtomicU64> {
        let number = usize::try_from(row.0).ok()?;
        let start = self.segments.get(number / SEGMENT_ROWS)?.load(Ordering::Acquire);
        if start.is_null() || word >= ROW_WORDS {
            return None;
        }
        // SAFETY: a segment that is not null holds SEGMENT_ROWS rows of ROW_WORDS aligned words and is mapped as long as `self` lives.
        Some(unsafe { &*start.add(number % SEGMENT_ROWS * ROW_WORDS + word) })
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        debug_assert!(number < NAMES_AT / 8);
        // SAFETY: the header is mapped, page-aligned, larger than NAMES_AT and mapped as long as `self` lives.
        unsafe { &*self.header.cast::<AtomicU64>().add(number) }
    }

    fn grow(&self, segment: usize) -> io::Result<()> {
        let Some(slot) = self.segments.get(segment) else {
            return Err(io::Error::other("the file holds as many rows as it can"));
        };
        let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.load(Ordering::Acquire).is_null() {
            let bytes = SEGMENT_ROWS * ROW_BYTES;
            let offset = HEADER_BYTES + segment * bytes;
            allocate(&self.file, offset, bytes)?;
            slot.store(map(&self.file, offset, bytes)?.cast::<AtomicU64>(), Ordering::Release);
        }
        Ok(())
    }

    fn write_text(&self, at: usize, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(NAME_BYTES)];
        // SAFETY: label and names lie inside the header; only the holder of the names' lock, or the creator, writes there.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.header.add(at), bytes.len()) };
    }
}

impl Drop for RowFile {
    fn drop(&mut self) {
        unmap(self.header.cast(), HEADER_BYTES);
        for segment in &self.segments {
            let start = segment.load(Ordering::Acquire);
            if !start.is_null() {
                unmap(start.cast(), SEGMENT_ROWS * ROW_BYTES);
            }
        }
    }
}

fn unmap(start: *mut c_void, bytes: usize) {
    // SAFETY: mapped by `map` with this length, and nobody can reach it any more: the file is being dropped. It cannot fail for such a
    // range, and if it did, the range would merely stay mapped.
    unsafe { libc::munmap(start, bytes) };
}

fn allocate(file: &File, offset: usize, bytes: usize) -> io::Result<()> {
    let too_large = |_| io::Error::other("the file is too large");
    let offset = libc::off_t::try_from(offset).map_err(too_large)?;
    let bytes = libc::off_t::try_from(bytes).map_err(too_large)?;
    loop {
        // SAFETY: a plain system call on an open file.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, bytes) } {
            0 => return Ok(()),
            // A signal came in between (tmpfs of older kernels): no reason to leave a row unwritten.
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn map(file: &File, offset: usize, bytes: usize) -> io::Result<*mut c_void> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::other("the file is too large"))?;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the address; the range lies inside the allocated file.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), offset) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start) }
}

#[cfg(test)]
mod tests {
    use super::{HEADER_BYTES, Kind, NAME_BYTES, NAMES_AT, ROW_BYTES, ROW_WORDS, RowFile, SEGMENT_ROWS};
    use std::{collections::HashSet, fs, sync::Arc, thread};

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    #[test]
    fn what_was_stored_is_in_the_file_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tasks-1.rows");
        let rows = RowFile::create(&path, Kind::Tasks, 3, "label").expect("a file");
        let row = rows.claim().expect("room");
        rows.store(row, 2, 22);
        rows.store(row, 0, 11);
        assert_eq!(rows.name("send"), 1);
        let bytes = fs::read(&path).expect("readable");
        assert_eq!(&bytes[..8], b"AFTROWS1");
        assert_eq!((word(&bytes, 32), word(&bytes, 56)), (3, 1));
        assert_eq!((word(&bytes, HEADER_BYTES), word(&bytes, HEADER_BYTES + 16)), (11, 22));
        assert_eq!(&bytes[4096 + 64..4096 + 69], b"send\0");
    }

    #[test]
    fn an_account_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.rows");
        let _first = RowFile::create(&path, Kind::Tasks, 1, "").expect("a file");
        assert!(RowFile::create(&path, Kind::Tasks, 1, "").is_err());
    }

    #[test]
    fn threads_never_share_a_row_and_the_file_grows_under_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.rows");
        let rows = Arc::new(RowFile::create(&path, Kind::Tasks, 1, "").expect("a file"));
        let each = SEGMENT_ROWS / 2 + 10;
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let rows = Arc::clone(&rows);
                thread::spawn(move || {
                    for _ in 0..each {
                        let row = rows.claim().expect("room");
                        rows.store(row, 0, row.0 + 1);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("no panic");
        }
        let bytes = fs::read(&path).expect("readable");
        let ops: HashSet<u64> = (0..4 * each).map(|row| word(&bytes, HEADER_BYTES + row * ROW_BYTES)).collect();
        assert_eq!(ops.len(), 4 * each);
        assert!(!ops.contains(&0));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_was_stored_is_in_the_file_and_nothing_else(
            stores in proptest::collection::vec((0..20_usize, 0..ROW_WORDS, proptest::num::u64::ANY), 0..60),
            names in proptest::collection::vec(".{0,70}", 0..230),
        ) {
            let folder = tempfile::tempdir().expect("a directory");
            let path = folder.path().join("a.rows");
            let file = RowFile::create(&path, Kind::Tasks, 1, "label").expect("a file");
            let rows: Vec<_> = (0..20).map(|_| file.claim().expect("room")).collect();
            let mut expected = [[0; ROW_WORDS]; 20];
            for (row, at, value) in stores {
                file.store(rows[row], at, value);
                expected[row][at] = value;
            }
            let ids: Vec<_> = names.iter().map(|name| file.name(name)).collect();
            let bytes = fs::read(&path).expect("readable");
            for (number, row) in expected.iter().enumerate() {
                for (at, value) in row.iter().enumerate() {
                    assert_eq!(word(&bytes, HEADER_BYTES + number * ROW_BYTES + at * 8), *value);
                }
            }
            for (name, id) in names.iter().zip(ids) {
                assert_eq!(id, file.name(name), "a name keeps its id");
                let end = name.len().min(NAME_BYTES);
                let place = NAMES_AT + usize::from(id) * NAME_BYTES;
                assert!(id == 0 || bytes[place..place + end] == name.as_bytes()[..end]);
            }
        }
    }
}
