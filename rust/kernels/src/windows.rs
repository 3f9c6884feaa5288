//! Windows of the pooling operators along one axis, and sums of sizes for both.

use std::ops::Range;

use crate::error::{Error, require};
use crate::planes::product;

/// Windows with more taps than this are not computed tap by tap.
pub const TAPS: usize = 64;

/// Window i covers the positions i·stride − padding … i·stride − padding + kernel − 1 of an axis of `len`.
#[derive(Clone, Copy)]
pub struct Axis {
    pub len: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Number of windows, at least 1.
    pub count: usize,
}

impl Axis {
    fn new(len: usize, kernel: usize, stride: usize, padding: usize, ceil: bool) -> Result<Axis, Error> {
        require(len > 0, || "(C1) x: expected at least one pixel".to_owned())?;
        require(kernel > 0 && stride > 0, || {
            format!("kernel_size and stride must be positive, got {kernel} and {stride}")
        })?;
        require(padding <= kernel / 2, || {
            format!("(C2) padding: {padding} is more than half of kernel_size {kernel}")
        })?;
        let beyond = if ceil { stride - 1 } else { 0 };
        let reach = padding.checked_mul(2).and_then(|p| p.checked_add(len)).and_then(|p| p.checked_add(beyond));
        let reach = reach.filter(|_| kernel <= isize::MAX as usize);
        let reach =
            reach.ok_or_else(|| Error::Shape(format!("sizes too large: {len}, {kernel}, {stride}, {padding}")))?;
        require(kernel <= reach, || {
            format!("(C3) no window of {kernel} fits an axis of {len} with padding {padding}, stride {stride}")
        })?;
        let count = (reach - kernel) / stride + 1;
        // The last window begins inside the map or the padding before it. No overflow: (count − 1)·stride <= reach.
        let count = if ceil && (count - 1) * stride >= len + padding { count - 1 } else { count };
        Ok(Axis { len, kernel, stride, padding, count })
    }

    /// The positions of window `i` on the axis; not empty.
    pub fn inside(&self, i: usize) -> Range<usize> {
        let start = i * self.stride;
        let end = start.saturating_add(self.kernel).saturating_sub(self.padding);
        start.saturating_sub(self.padding)..end.min(self.len)
    }

    /// Positions of window `i`, with those in the padding if they are to be `counted`.
    pub fn pixels(&self, i: usize, counted: bool) -> usize {
        if !counted {
            return self.inside(i).len();
        }
        let start = i * self.stride;
        start.saturating_add(self.kernel).min(self.len + 2 * self.padding) - start
    }

    /// Length of the axis with a border that all windows fit into.
    pub fn padded(&self) -> usize {
        ((self.count - 1) * self.stride).saturating_add(self.kernel)
    }
}

pub struct Dims {
    pub planes: usize,
    pub rows: Axis,
    pub columns: Axis,
    shape: [usize; 4],
}

impl Dims {
    pub fn new(
        x: &[usize],
        kernel: (usize, usize),
        stride: Option<(usize, usize)>,
        padding: (usize, usize),
        ceil: bool,
    ) -> Result<Dims, Error> {
        let &[n, c, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: expected (N, C, H, W), got {x:?}")));
        };
        let stride = stride.unwrap_or(kernel);
        let rows = Axis::new(height, kernel.0, stride.0, padding.0, ceil)?;
        let columns = Axis::new(width, kernel.1, stride.1, padding.1, ceil)?;
        let shape = [n, c, rows.count, columns.count];
        product(x)?;
        product(&shape)?;
        Ok(Dims { planes: product(&[n, c])?, rows, columns, shape })
    }

    /// Shape of the output.
    pub fn output(&self) -> &[usize] {
        &self.shape
    }

    /// Pixels of one plane of the input and of the output.
    pub fn plane(&self) -> (usize, usize) {
        (self.rows.len * self.columns.len, self.rows.count * self.columns.count)
    }

    /// True if a window has too many taps for loops over them.
    pub fn is_wide(&self) -> bool {
        self.rows.kernel > TAPS || self.columns.kernel > TAPS
    }

    /// Estimated nanoseconds for all planes.
    pub fn cost(&self) -> usize {
        let (kh, kw) = (self.rows.kernel.min(self.rows.len), self.columns.kernel.min(self.columns.len));
        let taps = if self.is_wide() { kh.saturating_mul(kw) } else { 1 + (kh + kw) / 4 };
        let (input, output) = self.plane();
        self.planes.saturating_mul(input.saturating_add(output)).saturating_mul(taps)
    }

    /// Planes that one task should take.
    pub fn batch(&self) -> usize {
        crate::exec::Exec::batch(self.cost() / self.planes.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by walking from window to window.
    #[test]
    fn windows_are_those_that_fit() {
        for (len, kernel, stride, padding) in (1..8)
            .flat_map(|l| (1..5).flat_map(move |k| (1..6).flat_map(move |s| (0..=k / 2).map(move |p| (l, k, s, p)))))
        {
            for ceil in [false, true] {
                let (l, k, s, p) = (len as isize, kernel as isize, stride as isize, padding as isize);
                let mut starts: Vec<isize> = (0..).map(|i| i * s - p).take_while(|start| start + k <= l + p).collect();
                let next = starts.len() as isize * s - p;
                if ceil && next < l && next - s + k < l + p {
                    starts.push(next);
                }
                match Axis::new(len, kernel, stride, padding, ceil) {
                    Err(_) => assert!(starts.is_empty(), "{len} {kernel} {stride} {padding} {ceil}"),
                    Ok(axis) => {
                        assert_eq!(axis.count, starts.len(), "{len} {kernel} {stride} {padding} {ceil}");
                        for (i, &start) in starts.iter().enumerate() {
                            let inside: Vec<isize> = (start..start + k).filter(|a| (0..l).contains(a)).collect();
                            let counted = (start..start + k).filter(|a| (-p..l + p).contains(a)).count();
                            assert_eq!(axis.inside(i).map(|a| a as isize).collect::<Vec<_>>(), inside);
                            assert_eq!((axis.pixels(i, false), axis.pixels(i, true)), (inside.len(), counted));
                            assert!(!inside.is_empty() && axis.padded() as isize >= start + p + k);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_beyond_memory_are_refused_or_harmless() {
        let huge = usize::MAX;
        for (kernel, stride, padding) in
            [(huge, 1, huge / 2), (huge, huge, 0), (1, huge, 0), (huge / 2, 1, huge / 4), (3, huge, 1)]
        {
            for ceil in [false, true] {
                let _ = Dims::new(&[1, 1, 5, 5], (kernel, 1), Some((stride, 1)), (padding, 0), ceil);
            }
        }
        assert!(
            Dims::new(&[1, 1, 5, 5], (1 << 40, 1), Some((1, 1)), (1 << 39, 0), false).is_ok_and(|d| d.rows.count == 6)
        );
    }
}
