# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "gguf==0.19.0", "accelerate==1.15.0"]
# ///
"""Writes what the reference implementation says about ten prompts, from the same GGUF file that Loupe loads.

    python export_decoder_reference.py MODEL.gguf > ../tests/fixtures/decoder_reference.json

Weights are dequantised to f32 and nothing else is rounded. Per prompt: the chat text, its token ids, the greedy
continuation, the margin between the best and the second logit at each step, and the five best logits of the first
step. Margins tell which steps rounding may flip.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path

import torch
import transformers

NEW_TOKENS = 32
SYSTEM = "You report defects of machine parts. Answer in short sentences."
PROMPTS = [
    "A casting has a dark round hole of 3 mm near its edge. What is the defect called?",
    "List three reasons why a screw can be missing on an assembled board.",
    "What is the capital of France?",
    "Summarise: the left pin of the connector is bent by 0.4 mm and touches its neighbour.",
    "Write a JSON object with the keys part, defect and action for a scratched cover.",
    "Why do printed circuit boards get short circuits?",
    "A tile shows a thin irregular dark line from edge to edge. Is that a crack or a scratch?",
    "Count from 1 to 20.",
    "How should an operator handle a part whose image is blurred?",
    "Explain in one sentence what rust is. Umlauts: äöüß, Chinese: 缺陷, emoji: 🔧.",
]


def load(path: Path):
    folder, name = str(path.parent), path.name
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return tokenizer, model.eval()


def chat(prompt: str) -> str:
    turns = [("system", SYSTEM), ("user", prompt)]
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


@torch.no_grad()
def greedy(model, ids: list[int], stop: int):
    tokens, margins, top = [], [], None
    cache, step = None, torch.tensor([ids])
    for _ in range(NEW_TOKENS):
        output = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache, logits = output.past_key_values, output.logits[0, -1]
        best = torch.topk(logits, 5)
        top = top or [[int(i), round(float(v), 4)] for i, v in zip(best.indices, best.values)]
        margins.append(round(float(best.values[0] - best.values[1]), 4))
        tokens.append(int(best.indices[0]))
        if tokens[-1] == stop:
            break
        step = torch.tensor([[tokens[-1]]])
    return tokens, margins, top


def main() -> None:
    path = Path(sys.argv[1])
    torch.manual_seed(0)
    tokenizer, model = load(path)
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    cases = []
    for prompt in PROMPTS:
        text = chat(prompt)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        tokens, margins, top = greedy(model, ids, stop)
        cases.append({"prompt": text, "prompt_ids": ids, "greedy_ids": tokens, "margins": margins, "first_top5": top,
                      "text": tokenizer.decode(tokens, skip_special_tokens=True)})
        print(prompt, "->", cases[-1]["text"], file=sys.stderr)
    header = {"model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "python": platform.python_version(),
              "torch": torch.__version__, "transformers": transformers.__version__}
    json.dump({"made_with": header, "cases": cases}, sys.stdout, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()
