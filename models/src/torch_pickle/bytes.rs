use super::Fault;

/// A position in a file in memory. Every read is checked against the end.
#[derive(Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) const fn new(file: &'a [u8]) -> Self {
        Self { rest: file }
    }

    /// Returns the next `len` bytes; `what` names them in the error.
    pub(super) fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], Fault> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            let found = format!("the end of the file after {} bytes", self.rest.len());
            return Err(Fault::new(format!("{len} bytes of {what}"), found));
        };
        self.rest = rest;
        Ok(head)
    }

    /// Returns the next line without its end.
    pub(super) fn line(&mut self, what: &str) -> Result<&'a [u8], Fault> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| Fault::new(format!("a line with {what}"), "the end of the file"))?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let taken = self.take(N, what)?;
        Ok(taken.try_into().expect("take returns as many bytes as it is asked for"))
    }

    pub(super) fn u8(&mut self, what: &str) -> Result<u8, Fault> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16, Fault> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self, what: &str) -> Result<i32, Fault> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        self.array(what).map(u64::from_le_bytes)
    }
}
