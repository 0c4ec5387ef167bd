# Two commands for a newcomer: `make demo` and `make test`. Both install what is missing first; a second run installs nothing.
.PHONY: demo test setup lint bench build

LOUPE := target/release/loupe

demo: build
	@$(LOUPE) models pull
	@$(LOUPE) demo

test: build
	@$(LOUPE) models pull
	@scripts/test

lint:
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings

bench: build
	@$(LOUPE) models pull
	cargo bench --profile release -p benches

build: setup
	@cargo build --release --quiet --workspace

setup:
	@scripts/setup
