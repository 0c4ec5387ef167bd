//! Measures the decoder: `cargo run --release --example decoder_speed -- MODEL.gguf [THREADS] [rounded]`; `rounded` lets
//! prompts be read with rounded activations.
//!
//! Prints the load time, resident memory, and the median, best and worst of several runs of prefill and decode.
#![expect(clippy::print_stdout, reason = "the measurements are the output")]

use std::{env, error::Error, fs, path::Path, time::Instant};

use models::{
    decoder::{Activations, DecoderOptions, Input, LlamaDecoder, TextDecoder as _},
    gguf::Gguf,
};

const ROUNDS: usize = 9;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, rest @ ..] = arguments.as_slice() else {
        return Err("usage: MODEL.gguf [THREADS] [rounded]".into());
    };
    let threads = rest.first().map_or(Ok(2), |text| text.parse())?;
    let is_rounded = rest.get(1).is_some_and(|word| word == "rounded");
    let activations = if is_rounded { Activations::Rounded } else { Activations::Exact };
    let started = Instant::now();
    let file = Gguf::open(Path::new(model))?;
    println!("gguf         {:8.1} ms", millis(started));
    let started = Instant::now();
    let mut decoder =
        LlamaDecoder::from_gguf(&file, DecoderOptions { threads, activations, ..DecoderOptions::default() })?;
    drop(file);
    println!("open         {:8.1} ms, {} MB of weights", millis(started), decoder.weight_bytes() / 1_000_000);
    let started = Instant::now();
    decoder.extend(Input::Tokens(&[1]))?;
    println!("first token  {:8.1} ms, resident {} MB", millis(started), resident_mb()?);
    for len in [16, 64, 128, 256, 512] {
        prefill(&mut decoder, len)?;
    }
    for start in [0, 64, 512] {
        decode(&mut decoder, start)?;
    }
    println!("resident     {:8} MB", resident_mb()?);
    Ok(())
}

fn prefill(decoder: &mut LlamaDecoder, len: usize) -> Result<(), Box<dyn Error>> {
    let prompt: Vec<u32> = (100..).take(len).collect();
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        decoder.truncate(0);
        let started = Instant::now();
        decoder.extend(Input::Tokens(&prompt))?;
        rates.push(len as f64 * 1e3 / millis(started));
    }
    print_rates(&format!("prefill {len:4}"), rates);
    Ok(())
}

fn decode(decoder: &mut LlamaDecoder, start: usize) -> Result<(), Box<dyn Error>> {
    let prompt: Vec<u32> = (100..).take(start.max(1)).collect();
    decoder.truncate(0);
    decoder.extend(Input::Tokens(&prompt))?;
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        decoder.truncate(start);
        let started = Instant::now();
        for id in 0..32 {
            decoder.extend(Input::Tokens(&[500 + id]))?;
        }
        rates.push(32e3 / millis(started));
    }
    print_rates(&format!("decode @{start:4}"), rates);
    Ok(())
}

fn print_rates(what: &str, mut rates: Vec<f64>) {
    rates.sort_by(f64::total_cmp);
    println!("{what} {:8.1} tokens/s (median; {:.1} to {:.1})", rates[ROUNDS / 2], rates[0], rates[ROUNDS - 1]);
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

fn resident_mb() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}
