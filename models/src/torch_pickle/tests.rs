use super::*;

/// Writes the pickles that `PyTorch` writes for `{"w": 2 x 3 tensor, "n": counter}`.
fn small_file() -> Vec<u8> {
    let mut file = vec![0x80, 2, 0x8a, 10];
    file.extend(MAGIC);
    file.extend(b".\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}q\x00(");
    push_text(&mut file, "protocol_version");
    file.extend(b"M\xe9\x03");
    push_text(&mut file, "little_endian");
    file.extend(b"\x88u.");
    file.extend(b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(");
    push_tensor(&mut file, "w", ("FloatStorage", "10", 6), &[(2, 3), (3, 1)]);
    push_tensor(&mut file, "n", ("LongStorage", "11", 1), &[]);
    file.extend(b"u}");
    push_text(&mut file, "_metadata");
    file.extend(b"h\x01sb.");
    file.extend(b"\x80\x02]q\x00(");
    push_text(&mut file, "10");
    push_text(&mut file, "11");
    file.extend(b"e.");
    file.extend(6_u64.to_le_bytes());
    file.extend((1..=6_u8).flat_map(|n| f32::from(n).to_le_bytes()));
    file.extend(1_u64.to_le_bytes());
    file.extend(0_i64.to_le_bytes());
    file
}

fn push_text(file: &mut Vec<u8>, text: &str) {
    file.push(b'X');
    file.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    file.extend(text.as_bytes());
}

fn push_tensor(file: &mut Vec<u8>, name: &str, (class, key, len): (&str, &str, u8), dims: &[(u8, u8)]) {
    push_text(file, name);
    file.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    push_text(file, "storage");
    file.extend(format!("ctorch\n{class}\n").as_bytes());
    push_text(file, key);
    push_text(file, "cpu");
    file.extend([b'K', len, b'N', b't', b'Q', b'K', 0, b'(']);
    file.extend(dims.iter().flat_map(|&(dim, _)| [b'K', dim]));
    file.extend(b"t(");
    file.extend(dims.iter().flat_map(|&(_, stride)| [b'K', stride]));
    file.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
}

/// Replaces the only place that holds `from`.
fn replaced(from: &[u8], to: &[u8]) -> Vec<u8> {
    let file = small_file();
    let at = file.windows(from.len()).position(|window| window == from).unwrap();
    [&file[..at], to, &file[at + from.len()..]].concat()
}

#[test]
fn reads_the_float_tensors() {
    let dict = parse(&small_file()).unwrap();
    assert_eq!(dict.keys().collect::<Vec<_>>(), ["w"]);
    assert_eq!(dict["w"], Tensor { dims: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] });
}

#[test]
fn follows_strides() {
    let transposed = replaced(b"(K\x02K\x03t(K\x03K\x01t", b"(K\x03K\x02t(K\x01K\x03t");
    let dict = parse(&transposed).unwrap();
    assert_eq!(dict["w"], Tensor { dims: vec![3, 2], values: vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0] });
}

#[test]
fn names_what_is_wrong() {
    struct Case {
        file: Vec<u8>,
        message: &'static str,
    }
    let cases = [
        Case { file: b"PK\x03\x04".to_vec(), message: "instruction 0x50" },
        Case { file: replaced(&MAGIC, &[1; 10]), message: "magic number" },
        Case { file: replaced(b".\x80\x02M\xe9\x03.", b".\x80\x02M\xe8\x03."), message: "protocol 1001" },
        Case { file: replaced(b"\x88u.", b"\x89u."), message: "little_endian" },
        Case { file: replaced(b"collections\nOrderedDict\nq", b"os\nsystem\nq"), message: "a call of os system" },
        Case { file: replaced(b"ctorch\nFloatStorage", b"ctorch\nHalfStorage"), message: "torch HalfStorage" },
        Case { file: replaced(b"(K\x02K\x03t", b"(K\x02K\x04t"), message: "tensor w inside its storage of 6 numbers" },
        Case { file: replaced(b"(K\x03K\x01t", b"(K\x00K\x00t"), message: "" },
        Case { file: replaced(b"(K\x02K\x03t(K\x03K\x01t", b"(K\xffK\xfft(K\x00K\x00t"), message: "tensor w inside" },
        Case { file: replaced(&6_u64.to_le_bytes(), &7_u64.to_le_bytes()), message: "6 numbers in storage 10" },
        Case { file: replaced(&6_u64.to_le_bytes(), &u64::MAX.to_le_bytes()), message: "6 numbers in storage 10" },
    ];
    for Case { file, message } in cases {
        let outcome = parse(&file);
        if message.is_empty() {
            assert!(outcome.is_ok(), "{outcome:?}");
            continue;
        }
        let Fault { expected, found } = outcome.unwrap_err();
        assert!(format!("{expected}, found {found}").contains(message), "{message}: {expected}, found {found}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let file = small_file();
    for len in 0..file.len() {
        assert!(parse(&file[..len]).is_err(), "{len} of {} bytes", file.len());
    }
}

/// Changed bytes must give an error or other numbers, never a panic and never much memory.
#[test]
fn survives_changed_bytes() {
    let file = small_file();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    for _ in 0..200_000 {
        let mut changed = file.clone();
        for _ in 0..=next(4) {
            let at = next(changed.len());
            changed[at] = next(256).try_into().unwrap();
        }
        changed.truncate(changed.len() - next(changed.len()) * (next(4) / 3));
        drop(parse(&changed));
    }
    // Every single byte at every place.
    for at in 0..file.len() {
        let mut changed = file.clone();
        for byte in 0..=u8::MAX {
            changed[at] = byte;
            drop(parse(&changed));
        }
    }
}

#[test]
fn a_long_program_ends() {
    let mut file = vec![0x80, 2];
    file.resize(6_000_000, b'N');
    let error = parse(&file).unwrap_err();
    assert!(error.expected.contains("instructions"), "{error:?}");
}
