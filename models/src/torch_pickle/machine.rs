//! The stack machine of pickle, cut down to what a state dict needs.
//!
//! Values live in one list and refer to each other by index: nothing is ever copied, nothing recurses, and memory grows
//! with the length of the program only, whatever the program does.

use std::collections::HashMap;

use super::{Fault, bytes::Bytes};

/// Instructions that one pickle may have; the weights of a large network need some ten thousand.
const MAX_INSTRUCTIONS: usize = 4_000_000;

/// Index of a value.
type Id = usize;

/// What the numbers of a storage are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    I64,
}

impl Element {
    pub(super) const fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

/// A run of numbers that tensors are views of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: String,
    pub(super) element: Element,
    pub(super) len: usize,
}

/// A strided view of a storage; offset and strides count numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorView {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) dims: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of any length, least byte first.
    Long(Vec<u8>),
    Text(String),
    /// A class or function, as `module name`.
    Global(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Storage(Storage),
    Tensor(TensorView),
}

/// The values that a finished program made.
#[derive(Debug)]
pub(super) struct Program {
    values: Vec<Value>,
    result: Id,
}

impl Program {
    pub(super) fn result(&self) -> &Value {
        &self.values[self.result]
    }

    pub(super) fn dict_entries(&self) -> Option<impl Iterator<Item = (&Value, &Value)>> {
        let Value::Dict(entries) = self.result() else { return None };
        Some(entries.iter().map(|&(key, value)| (&self.values[key], &self.values[value])))
    }

    pub(super) fn list_items(&self) -> Option<impl Iterator<Item = &Value>> {
        let Value::List(items) = self.result() else { return None };
        Some(items.iter().map(|&item| &self.values[item]))
    }

    /// Returns the tensors of a state dict by name.
    pub(super) fn tensors(&self) -> Result<Vec<(String, TensorView)>, Fault> {
        let entries = self.dict_entries().ok_or_else(|| Fault::new("a state dict", "another value"))?;
        entries
            .map(|entry| match entry {
                (Value::Text(name), Value::Tensor(view)) => Ok((name.clone(), view.clone())),
                (Value::Text(name), _) => Err(Fault::new(format!("a tensor under {name}"), "another value")),
                _ => Err(Fault::new("a state dict with text keys", "another key")),
            })
            .collect()
    }
}

/// Runs the program at the head of `bytes` and leaves `bytes` behind its end.
pub(super) fn run(bytes: &mut Bytes<'_>) -> Result<Program, Fault> {
    let mut machine = Machine::default();
    for _ in 0..MAX_INSTRUCTIONS {
        if let Some(result) = machine.step(bytes)? {
            return Ok(Program { values: machine.values, result });
        }
    }
    Err(Fault::new(format!("at most {MAX_INSTRUCTIONS} pickle instructions"), "more"))
}

#[derive(Debug, Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine {
    /// Runs one instruction; returns the result where it was the last.
    fn step(&mut self, bytes: &mut Bytes<'_>) -> Result<Option<Id>, Fault> {
        match bytes.u8("a pickle instruction")? {
            b'.' => return self.pop().map(Some),
            0x80 => drop(bytes.u8("pickle protocol")?),
            b'(' => self.marks.push(self.stack.len()),
            b'q' => self.remember(u32::from(bytes.u8("memo index")?))?,
            b'r' => self.remember(bytes.u32("memo index")?)?,
            b'h' => self.recall(u32::from(bytes.u8("memo index")?))?,
            b'j' => self.recall(bytes.u32("memo index")?)?,
            b's' => self.set_last_item()?,
            b'u' => self.set_items()?,
            b'e' => self.append_items()?,
            b'R' => self.call()?,
            b'Q' => self.load_storage()?,
            // Attributes of the dict itself (versions of modules), which hold no weights.
            b'b' => drop(self.pop()?),
            code => {
                let value = self.make(code, bytes)?;
                self.push(value);
            }
        }
        Ok(None)
    }

    /// Returns the value that an instruction makes from what follows it and from the stack.
    fn make(&mut self, code: u8, bytes: &mut Bytes<'_>) -> Result<Value, Fault> {
        Ok(match code {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(i64::from(bytes.u8("a small number")?)),
            b'M' => Value::Int(i64::from(bytes.u16("a number")?)),
            b'J' => Value::Int(i64::from(bytes.i32("a number")?)),
            0x8a => {
                let len = usize::from(bytes.u8("length of a number")?);
                Value::Long(bytes.take(len, "a long number")?.to_vec())
            }
            b'X' => {
                let len_bytes = bytes.u32("length of a text")? as usize;
                Value::Text(text(bytes.take(len_bytes, "a text")?)?)
            }
            b'c' => {
                let module = text(bytes.line("a module name")?)?;
                Value::Global(format!("{module} {}", text(bytes.line("a class name")?)?))
            }
            b'}' => Value::Dict(Vec::new()),
            b']' => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            0x85..=0x87 => Value::Tuple(self.pop_many(usize::from(code - 0x84))?),
            b't' => Value::Tuple(self.pop_to_mark()?),
            _ => return Err(Fault::new("a pickle of a plain state dict", format!("pickle instruction {code:#04x}"))),
        })
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        self.stack.pop().ok_or_else(empty_stack)
    }

    fn top(&self) -> Result<Id, Fault> {
        self.stack.last().copied().ok_or_else(empty_stack)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Fault> {
        let start = self.stack.len().checked_sub(count).ok_or_else(empty_stack)?;
        Ok(self.stack.split_off(start))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| Fault::new("a mark on the pickle stack", "none"))?;
        // Instructions between the mark and here may have taken more from the stack than they put there.
        if mark > self.stack.len() { Err(empty_stack()) } else { Ok(self.stack.split_off(mark)) }
    }

    fn remember(&mut self, index: u32) -> Result<(), Fault> {
        self.memo.insert(index, self.top()?);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), Fault> {
        let id =
            self.memo.get(&index).ok_or_else(|| Fault::new(format!("a value under memo index {index}"), "none"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn set_last_item(&mut self) -> Result<(), Fault> {
        let items = self.pop_many(2)?;
        self.insert(&items)
    }

    fn set_items(&mut self) -> Result<(), Fault> {
        let items = self.pop_to_mark()?;
        self.insert(&items)
    }

    fn insert(&mut self, items: &[Id]) -> Result<(), Fault> {
        let id = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.values[id] {
            Value::Dict(entries) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(Fault::new("a dict to set items of, in pairs", "another value")),
        }
    }

    fn append_items(&mut self) -> Result<(), Fault> {
        let new = self.pop_to_mark()?;
        let id = self.top()?;
        let Value::List(items) = &mut self.values[id] else {
            return Err(Fault::new("a list to append to", "another value"));
        };
        items.extend(new);
        Ok(())
    }

    /// Does what the two functions that a state dict calls would do; refuses any other.
    fn call(&mut self) -> Result<(), Fault> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let (Value::Global(name), Value::Tuple(arguments)) = (&self.values[function], &self.values[arguments]) else {
            return Err(Fault::new("a function and its arguments", "other values"));
        };
        let made = match name.as_str() {
            "collections OrderedDict" if arguments.is_empty() => Value::Dict(Vec::new()),
            "torch._utils _rebuild_tensor_v2" => Value::Tensor(self.view(arguments)?),
            _ => return Err(Fault::new("a pickle of a plain state dict", format!("a call of {name}"))),
        };
        self.push(made);
        Ok(())
    }

    /// Returns the tensor of `(storage, offset, shape, strides, requires_grad, hooks)`.
    fn view(&self, arguments: &[Id]) -> Result<TensorView, Fault> {
        let fault = || Fault::new("a tensor as storage, offset, shape and strides", "other arguments");
        let &[storage, offset, dims, strides, ..] = arguments else { return Err(fault()) };
        let Value::Storage(storage) = &self.values[storage] else { return Err(fault()) };
        Ok(TensorView {
            storage: storage.clone(),
            offset: self.size(offset)?,
            dims: self.sizes(dims)?,
            strides: self.sizes(strides)?,
        })
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, Fault> {
        let Value::Tuple(items) = &self.values[id] else {
            return Err(Fault::new("a tuple of sizes", "another value"));
        };
        items.iter().map(|&item| self.size(item)).collect()
    }

    fn size(&self, id: Id) -> Result<usize, Fault> {
        match &self.values[id] {
            Value::Int(value) => {
                usize::try_from(*value).map_err(|error| Fault::new("a size", format!("{value} ({error})")))
            }
            _ => Err(Fault::new("a size", "another value")),
        }
    }

    /// Turns `("storage", class, key, device, length, view)` into a storage.
    fn load_storage(&mut self) -> Result<(), Fault> {
        let fault = || Fault::new("a storage as class, key, device and length", "other values");
        let reference = self.pop()?;
        let Value::Tuple(parts) = &self.values[reference] else { return Err(fault()) };
        let &[_, class, key, _, len, view] = parts.as_slice() else { return Err(fault()) };
        let (Value::Global(class), Value::Text(key), Value::None) =
            (&self.values[class], &self.values[key], &self.values[view])
        else {
            return Err(fault());
        };
        let element = match class.as_str() {
            "torch FloatStorage" => Element::F32,
            "torch LongStorage" => Element::I64,
            _ => return Err(Fault::new("tensors of 32-bit floats or 64-bit integers", class.as_str())),
        };
        let storage = Storage { key: key.clone(), element, len: self.size(len)? };
        self.push(Value::Storage(storage));
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    let text = str::from_utf8(bytes).map_err(|error| Fault::new("text in UTF-8", error.to_string()))?;
    Ok(text.to_owned())
}

fn empty_stack() -> Fault {
    Fault::new("a value on the pickle stack", "none")
}
