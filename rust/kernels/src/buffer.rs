//! Work space.

use std::ops::{Deref, DerefMut};

use crate::error::Error;
use crate::lanes::LINE;
use crate::real::Real;

/// Numbers that start on a cache line.
pub struct Buffer<T> {
    data: Vec<T>,
    start: usize,
    /// Elements of `data` once it is complete.
    end: usize,
}

/// `len` zeros, or [`Error::OutOfMemory`].
pub fn zeros<T: Real>(len: usize) -> Result<Buffer<T>, Error> {
    let mut buffer = Buffer::reserved(len)?;
    buffer.grow(usize::MAX);
    Ok(buffer)
}

impl<T: Real> Buffer<T> {
    /// Room for `len` zeros, still to be written by [`Buffer::grow`].
    pub fn reserved(len: usize) -> Result<Self, Error> {
        let line = LINE / size_of::<T>();
        let padded = len.checked_add(line).ok_or(Error::OutOfMemory)?;
        let mut data: Vec<T> = Vec::new();
        data.try_reserve_exact(padded).map_err(|_| Error::OutOfMemory)?;
        let start = data.as_ptr().align_offset(LINE).min(line);
        data.resize(start, T::ZERO);
        Ok(Buffer { data, start, end: start + len })
    }

    /// Writes at most `most` of the zeros that are missing. Whether none is any more.
    pub fn grow(&mut self, most: usize) -> bool {
        let len = self.end.min(self.data.len().saturating_add(most));
        self.data.resize(len, T::ZERO);
        len == self.end
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.data[self.start..]
    }
}

impl<T> DerefMut for Buffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::Exec;
    use crate::lanes::Level;

    #[test]
    fn buffers_are_zero_and_aligned() {
        for len in [0, 1, 15, 16, 1000] {
            let mut in_steps = Buffer::<f32>::reserved(len).unwrap();
            while !in_steps.grow(7) {}
            for buffer in [zeros::<f32>(len).unwrap(), in_steps] {
                let aligned = buffer.as_ptr().addr().is_multiple_of(LINE);
                assert!(buffer.len() == len && aligned && buffer.iter().all(|&x| x == 0.0));
            }
        }
        assert!(zeros::<f64>(usize::MAX / 16).is_err());
    }

    #[test]
    fn many_zeros_can_be_interrupted() {
        let zeros = |stop: bool, len: usize| Exec::new(1, Level::PORTABLE, &|| stop).zeros::<f32>(len).map(|x| x.len());
        assert_eq!((zeros(true, 100), zeros(true, 1 << 23)), (Ok(100), Err(Error::Interrupted)));
        assert_eq!(zeros(false, 1 << 23), Ok(1 << 23));
    }
}
