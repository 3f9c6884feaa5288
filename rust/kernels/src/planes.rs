//! Sizes and borders of planes (height × width, contiguous): checked products, ranges that stay inside, padding and its adjoint.

use std::ops::Range;

use crate::error::{Error, require};
use crate::real::Real;

/// The product of sizes, if an array of that many float64 can exist.
pub fn product(sizes: &[usize]) -> Result<usize, Error> {
    let nonzero = sizes.iter().filter(|&&n| n != 0);
    // Zero extents do not excuse the others: NumPy refuses such shapes too.
    let product = nonzero.copied().try_fold(1usize, usize::checked_mul).filter(|&n| n <= isize::MAX as usize / 8);
    let product = product.ok_or_else(|| Error::Shape(format!("the product of the sizes {sizes:?} is too large")))?;
    Ok(if sizes.contains(&0) { 0 } else { product })
}

/// `Err(Error::Shape)` unless the array has the expected number of elements.
pub fn require_len<T>(name: &str, x: &[T], expected: usize) -> Result<(), Error> {
    require(x.len() == expected, || format!("{name} has {} elements, expected {expected}", x.len()))
}

/// floor((len + 2·padding − dilation·(kernel − 1) − 1) / stride) + 1: positions of a window along one axis.
pub fn output_size(len: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Result<usize, Error> {
    require(kernel > 0 && stride > 0 && dilation > 0, || {
        format!("kernel_size, stride and dilation must be positive, got {kernel}, {stride} and {dilation}")
    })?;
    let too_large = || {
        Error::Shape(format!(
            "sizes too large: {len} with padding {padding}, kernel_size {kernel}, dilation {dilation}"
        ))
    };
    let padded = padding.checked_mul(2).and_then(|p| p.checked_add(len)).ok_or_else(too_large)?;
    let window = dilation.checked_mul(kernel - 1).and_then(|w| w.checked_add(1)).ok_or_else(too_large)?;
    require(window <= padded, || {
        format!("the window of {window} does not fit into {padded} (axis of {len} with padding {padding})")
    })?;
    Ok((padded - window) / stride + 1)
}

/// Output and input range along one axis of `len` where output `i` reads input `i + offset`.
pub fn overlap(offset: isize, len: usize) -> (Range<usize>, Range<usize>) {
    let cut = offset.unsigned_abs().min(len);
    if offset >= 0 { (0..len - cut, cut..len) } else { (cut..len, 0..len - cut) }
}

/// Input index behind position `i` of an axis of `len` padded by `pad` on both sides, mirrored at the edges, which are not repeated.
/// Needs pad < len.
#[inline]
pub fn reflected(i: usize, pad: usize, len: usize) -> usize {
    let last = len - 1;
    if i < pad {
        pad - i
    } else if i - pad > last {
        2 * last + pad - i
    } else {
        i - pad
    }
}

/// A plane inside its border: `height` × `width` with `top`, `bottom`, `left` and `right` elements around it.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub height: usize,
    pub width: usize,
    pub top: usize,
    pub bottom: usize,
    pub left: usize,
    pub right: usize,
}

impl Frame {
    /// The same border above and below, and left and right. Checks that the padded plane's size exists.
    pub fn symmetric(height: usize, width: usize, vertical: usize, horizontal: usize) -> Result<Frame, Error> {
        let frame = Frame { height, width, top: vertical, bottom: vertical, left: horizontal, right: horizontal };
        let sides = [
            vertical.checked_mul(2).and_then(|p| p.checked_add(height)),
            horizontal.checked_mul(2).and_then(|p| p.checked_add(width)),
        ];
        match sides {
            [Some(h), Some(w)] => product(&[h, w]).map(|_| frame),
            _ => Err(Error::Shape(format!("padding ({vertical}, {horizontal}) is too large"))),
        }
    }

    pub fn padded_height(&self) -> usize {
        self.top + self.height + self.bottom
    }

    pub fn padded_width(&self) -> usize {
        self.left + self.width + self.right
    }

    pub fn padded_len(&self) -> usize {
        self.padded_height() * self.padded_width()
    }

    /// Copies plane `x` into `padded`, zeros around it.
    pub fn pad_zero<T: Real>(&self, x: &[T], padded: &mut [T]) {
        padded[..self.padded_len()].fill(T::ZERO);
        if self.width == 0 {
            return;
        }
        for (x_row, row) in x
            .chunks_exact(self.width)
            .zip(padded[self.top * self.padded_width()..].chunks_exact_mut(self.padded_width()))
        {
            row[self.left..][..self.width].copy_from_slice(x_row);
        }
    }

    /// Adjoint of [`Frame::pad_zero`]: the inner part of `padded` into `dx`.
    pub fn crop<T: Real>(&self, padded: &[T], dx: &mut [T]) {
        if self.width == 0 {
            return;
        }
        for (dx_row, row) in dx
            .chunks_exact_mut(self.width)
            .zip(padded[self.top * self.padded_width()..].chunks_exact(self.padded_width()))
        {
            dx_row.copy_from_slice(&row[self.left..][..self.width]);
        }
    }

    /// Copies plane `x` into `padded`, mirrored around it. Needs top = bottom < height and left = right < width, or no border.
    pub fn pad_reflect<T: Real>(&self, x: &[T], padded: &mut [T]) {
        let (w, pw) = (self.width, self.padded_width());
        if pw == 0 {
            return;
        }
        for (i, row) in padded.chunks_exact_mut(pw).take(self.padded_height()).enumerate() {
            let x_row = &x[reflected(i, self.top, self.height) * w..][..w];
            for (j, y) in row[..self.left].iter_mut().enumerate() {
                *y = x_row[reflected(j, self.left, w)];
            }
            row[self.left..][..w].copy_from_slice(x_row);
            for (j, y) in row.iter_mut().enumerate().skip(self.left + w) {
                *y = x_row[reflected(j, self.left, w)];
            }
        }
    }

    /// Adjoint of [`Frame::pad_reflect`]: dx[reflected position] += padded, in row order.
    pub fn fold_reflect<T: Real>(&self, padded: &[T], dx: &mut [T]) {
        let (w, pw) = (self.width, self.padded_width());
        dx.fill(T::ZERO);
        if pw == 0 {
            return;
        }
        for (i, row) in padded.chunks_exact(pw).take(self.padded_height()).enumerate() {
            let dx_row = &mut dx[reflected(i, self.top, self.height) * w..][..w];
            for (j, &g) in row[..self.left].iter().enumerate() {
                dx_row[reflected(j, self.left, w)] += g;
            }
            for (d, &g) in dx_row.iter_mut().zip(&row[self.left..]) {
                *d += g;
            }
            for (j, &g) in row.iter().enumerate().skip(self.left + w) {
                dx_row[reflected(j, self.left, w)] += g;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, unwritten};

    #[test]
    fn products_are_checked() {
        assert_eq!(product(&[]), Ok(1));
        assert_eq!(product(&[3, 0, 5]), Ok(0));
        assert!(product(&[1 << 31, 1 << 31, 2]).is_err() && product(&[0, usize::MAX, 2]).is_err());
        assert!(product(&[1 << 60, 1 << 10]).is_err());
    }

    #[test]
    fn output_sizes_count_the_windows_that_fit() {
        for (len, kernel, stride) in crate::testing::grid([9, 5, 4]).map(|(a, b, c)| (a, b + 1, c + 1)) {
            for (padding, dilation) in [(0, 1), (2, 1), (1, 3)] {
                let fits = |start: usize| start + dilation * (kernel - 1) < len + 2 * padding;
                let count = (0..).step_by(stride).take_while(|&start| fits(start)).count();
                let size = output_size(len, kernel, stride, padding, dilation).ok();
                assert_eq!(size, (count > 0).then_some(count), "{len} {kernel} {stride} {padding} {dilation}");
            }
        }
        assert!(output_size(3, 0, 1, 0, 1).is_err() && output_size(3, 1, 0, 0, 1).is_err());
        assert!(output_size(3, 3, 1, usize::MAX, 1).is_err() && output_size(3, 3, 1, 0, usize::MAX).is_err());
    }

    #[test]
    fn overlap_pairs_each_output_with_the_input_it_reads() {
        for (len, offset) in (0..6).flat_map(|len| (-8..=8).map(move |offset| (len, offset))) {
            let (out, input) = overlap(offset, len);
            let inside = |i: usize| (0..len as isize).contains(&(i as isize + offset));
            assert!(out.len() == input.len() && (0..len).all(|i| inside(i) == out.contains(&i)), "{len} {offset}");
            assert!(out.zip(input).all(|(i, a)| i as isize + offset == a as isize));
        }
        for offset in [isize::MIN, isize::MAX] {
            let (out, input) = overlap(offset, 3);
            assert!(out.is_empty() && input.is_empty() && out.end <= 3 && input.end <= 3);
        }
    }

    /// Zero padding of unequal sides and its adjoint; reflection is tested with its operator.
    #[test]
    fn zero_padding_and_crop() {
        for (height, width) in (0..4).flat_map(|h| (0..4).map(move |w| (h, w))) {
            let frame = Frame { height, width, top: 1, bottom: 2, left: 0, right: 3 };
            let x = random::<f32>(height * width, 1);
            let (mut padded, mut back) = (unwritten::<f32>(frame.padded_len()), unwritten::<f32>(x.len()));
            frame.pad_zero(&x, &mut padded);
            for (i, j) in (0..height + 3).flat_map(|i| (0..width + 3).map(move |j| (i, j))) {
                let inside = (1..=height).contains(&i) && j < width;
                let expected = if inside { x[(i - 1) * width + j] } else { 0.0 };
                assert_eq!(padded[i * (width + 3) + j], expected);
            }
            frame.crop(&padded, &mut back);
            assert_eq!(back, x);
        }
    }
}
