use cameras::{FrameId, Size};

use super::*;
use crate::report::tests::full_example;

fn frame(format: PixelFormat) -> Frame {
    let bytes: Vec<u8> = (0..12 * format.bytes_per_pixel()).map(|i| (i * 7) as u8).collect();
    Frame::new(FrameId { source: "top".into(), seq: 0 }, Size::new(4, 3), format, bytes).unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() { files.extend(files_below(&entry.path())) } else { files.push(entry.path()) }
    }
    files
}

#[test]
fn originals_come_back_bit_by_bit() {
    let root = tempfile::tempdir().unwrap();
    let folder = EvidenceFolder::new(root.path());
    for format in [PixelFormat::Grey8, PixelFormat::Grey16, PixelFormat::Rgb8, PixelFormat::Rgb16] {
        let frame = frame(format);
        let item = folder.store_original(&full_example(), &frame).unwrap();
        assert_eq!(image::open(folder.path_of(&item)).unwrap(), to_image(&frame), "{format:?}");
        assert_eq!(item.path, "evidence/2026/11/18/press/0190a5b2-0000-7000-8000-000000000001_original.png");
        let bytes = fs::read(folder.path_of(&item)).unwrap();
        assert_eq!((item.bytes, item.sha256), (bytes.len() as u64, sha256(&bytes)));
    }
}

#[test]
fn a_file_is_copied_as_it_is_unless_it_changed_since() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("part.jpg");
    let mut jpeg = Vec::new();
    JpegEncoder::new(&mut jpeg).encode_image(&RgbImage::new(4, 3)).unwrap();
    fs::write(&file, &jpeg).unwrap();
    let folder = EvidenceFolder::new(root.path());

    let read_after = frame(PixelFormat::Rgb8).with_origin(&file);
    let item = folder.store_original(&full_example(), &read_after).unwrap();
    assert_eq!((item.mime.as_str(), fs::read(folder.path_of(&item)).unwrap()), ("image/jpeg", jpeg));

    let later = std::time::SystemTime::now() + std::time::Duration::from_mins(1);
    File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let item = folder.store_original(&full_example(), &read_after).unwrap();
    assert_eq!(item.mime, "image/png");
}

/// Takes so many bytes and then says what a full disk says.
struct Quota {
    file: File,
    left: usize,
}

impl Write for Quota {
    #[expect(clippy::disallowed_methods, reason = "a writer that takes a part is what is tested")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.left);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left -= taken;
        self.file.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("part.png");
    let create = |path: &Path| Ok(Quota { file: File::create(path)?, left: 10 });
    let error = RecordError::from_io(&target, write_through(&target, &[1; 100], create).unwrap_err());
    assert!(matches!(error, RecordError::DiskFull { .. }), "{error}");
    assert_eq!(error.to_string(), format!("{}: disk is full", target.display()));
    assert_eq!(files_below(root.path()), Vec::<PathBuf>::new());
    write_through(&target, &[1; 10], create).unwrap();
    assert_eq!(files_below(root.path()), [target]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_error_of_the_kernel_is_a_full_disk_too() {
    let root = tempfile::tempdir().unwrap();
    let create = |_: &Path| File::options().write(true).open("/dev/full");
    let target = root.path().join("part.png");
    let error = RecordError::from_io(&target, write_through(&target, &[1; 100], create).unwrap_err());
    assert!(matches!(error, RecordError::DiskFull { .. }), "{error}");
}

#[test]
fn a_station_stays_one_folder() {
    let cases =
        [("press", "press"), ("../../etc", "_.._etc"), ("a/b c", "a_b_c"), ("..", "_"), ("Prüfer 1", "Prüfer_1")];
    for (name, expected) in cases {
        assert_eq!(folder_name(name), expected, "{name}");
    }
}

#[test]
fn policy_decides_by_verdict() {
    let kept = |policy: EvidencePolicy| Verdict::ALL.map(|verdict| policy.keeps(verdict));
    assert_eq!(kept(EvidencePolicy::All), [true; 4]);
    assert_eq!(kept(EvidencePolicy::Suspects), [false, true, true, true]);
    assert_eq!(kept(EvidencePolicy::Off), [false; 4]);
}
