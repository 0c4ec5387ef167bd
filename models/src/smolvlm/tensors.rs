use crate::{
    ModelError,
    matrix::{Format, Matrix},
};

/// The tensors of a model by the names that they have in Hugging Face checkpoints, whatever file they lie in.
pub trait Tensors: std::fmt::Debug {
    /// Returns whether there is a tensor `name`.
    fn has(&self, name: &str) -> bool;

    /// Returns how the tensor `name` of shape `dims` is stored, and its bytes: row-major, in place.
    ///
    /// # Errors
    /// When there is no such tensor, its shape is another, or its type is none that Loupe knows.
    fn locate(&self, name: &str, dims: &[usize]) -> Result<(Format, &[u8]), ModelError>;

    /// Returns the error that says that tensor `name` is not as expected.
    fn flaw(&self, name: &str, expected: &str, found: &str) -> ModelError;

    /// Returns what tells these tensors from others without reading all of them: SHA-256 in hexadecimal over the
    /// directories, lengths and modification times of their files.
    ///
    /// # Errors
    /// When a file cannot be examined.
    fn fingerprint(&self) -> Result<String, ModelError>;

    /// Returns the matrix `name`, in place.
    ///
    /// # Errors
    /// As [`Self::locate`], for the shape `[rows, row_len]`.
    fn matrix(&self, name: &str, [rows, row_len]: [usize; 2]) -> Result<Matrix<'_>, ModelError> {
        let (format, data) = self.locate(name, &[rows, row_len])?;
        Ok(Matrix { rows, row_len, format, data })
    }

    /// Returns the values of tensor `name`, row-major.
    ///
    /// # Errors
    /// As [`Self::locate`], and when a value is not finite.
    fn read(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>, ModelError> {
        let (format, data) = self.locate(name, dims)?;
        let values = Matrix { rows: 1, row_len: dims.iter().product(), format, data }.to_f32();
        match values.iter().find(|value| !value.is_finite()) {
            None => Ok(values),
            Some(value) => Err(self.flaw(name, "to be finite", &value.to_string())),
        }
    }
}
