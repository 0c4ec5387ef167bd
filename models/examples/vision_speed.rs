//! Times the vision encoder of a `SmolVLM` folder: milliseconds a frame on each engine that is built and found, medians of five.
//!
//! ```sh
//! ORT_DYLIB_PATH=libonnxruntime.so cargo run --release -p models --example vision_speed -- MODEL_FOLDER GRAPHS [THREADS [PROVIDER]]
//! ```

use std::{env, error::Error, path::Path, time::Instant};

use models::{
    burn_engine::{BurnBackend, BurnDevice},
    ort_engine::{OrtEngine, Provider},
    smolvlm::{Checkpoint, Engine, VisionEncoder, VlmConfig},
};

const ROUNDS: usize = 5;

#[expect(clippy::print_stdout, reason = "this is a command")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, graphs, rest @ ..] = arguments.as_slice() else {
        return Err("expected MODEL_FOLDER GRAPHS [THREADS [PROVIDER]]".into());
    };
    let threads = rest.first().map_or(Ok(2), |threads| threads.parse())?;
    let (folder, graphs) = (Path::new(folder), Path::new(graphs));
    let engine = OrtEngine::load(Path::new("libonnxruntime.so"))?;
    let (weights, config) = (Checkpoint::open(folder)?, VlmConfig::read(folder)?);
    let frame: Vec<u8> = (0..config.vision.image_px.pow(2) * 3).map(|index| (index * 7 % 251) as u8).collect();
    let ort = |provider| Engine::Ort { engine: &engine, provider, graphs };
    let mut engines = vec![("8-bit integers", Engine::Integer), ("32-bit floats, cpu", ort(Provider::Cpu))];
    for provider in rest.iter().skip(1) {
        let found = Provider::ALL.into_iter().find(|known| known.name() == provider).ok_or("expected a provider")?;
        engines.push((provider, ort(found)));
    }
    let burn: Vec<BurnDevice> = BurnBackend::ALL.into_iter().filter_map(|it| BurnDevice::open(it).ok()).collect();
    engines.extend(burn.iter().map(|device| (device.name(), Engine::Burn(device))));
    for (name, vision) in engines {
        let started = Instant::now();
        let mut encoder = VisionEncoder::open(vision, (&weights, &config), threads)?;
        let opened = started.elapsed();
        let mut millis = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            encoder.encode(&frame)?;
            millis.push(started.elapsed().as_millis());
        }
        millis.sort_unstable();
        println!("{name}: opened in {} ms, a frame in {millis:?} ms", opened.as_millis());
    }
    Ok(())
}
