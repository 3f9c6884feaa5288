//! Windows put back into a map: [`crate::window_partition`] the other way round.
//!
//! Shapes       windows (N·nH·nW, wh·ww, C), window (wh, ww), size (H, W) -> x (N, H, W, C)
//! Forward      (F1) x[n, a·wh + i, b·ww + j] = windows[(n·nH + a)·nW + b, i·ww + j]
//! Backward     (B1) the partition
//! Constraints  (C1) windows fill whole images    (C2) H and W are multiples of the window

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::real::Real;
use crate::window_partition::{self, Dims};

/// The sizes of the partition that is undone.
pub fn dims(windows: &[usize], window: (usize, usize), size: (usize, usize)) -> Result<Dims, Error> {
    let ((wh, ww), (height, width)) = (window, size);
    let fits = wh > 0 && ww > 0 && height > 0 && width > 0 && height % wh == 0 && width % ww == 0;
    require(fits, || format!("(C2) window: divisors of {height} and {width} expected, got {window:?}"))?;
    let &[count, tokens, channels] = windows else {
        return Err(Error::Shape(format!("(C1) windows: three axes expected, got shape {windows:?}")));
    };
    let each = (height / wh).checked_mul(width / ww);
    let whole = wh.checked_mul(ww) == Some(tokens) && each.is_some_and(|each| count % each == 0);
    require(whole, || {
        format!(
            "(C1) windows: whole images of {height} × {width} in windows {window:?} expected, got shape {windows:?}"
        )
    })?;
    Dims::new(&[count / each.unwrap_or(1), height, width, channels], window)
}

pub fn forward<T: Real>(windows: &[T], x: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    window_partition::backward(windows, x, d, exec) // (F1)
}

pub fn backward<T: Real>(dx: &[T], dwindows: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    window_partition::forward(dx, dwindows, d, exec) // (B1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, unwritten};

    #[test]
    fn standard() {
        let d = dims(&[4, 2, 1], (1, 2), (2, 4)).unwrap();
        let windows: Vec<f32> = (0..8u8).map(f32::from).collect();
        each_exec(|exec| {
            let (mut x, mut back) = (unwritten::<f32>(8), unwritten::<f32>(8));
            forward(&windows, &mut x, &d, exec).unwrap();
            backward(&x, &mut back, &d, exec).unwrap();
            assert_eq!((&x, &back), (&windows, &windows));
        });
        assert_eq!(dims(&[12, 6, 5], (2, 3), (4, 9)).unwrap().shape(), [2, 4, 9, 5]);
    }

    #[test]
    fn constraints() {
        for (windows, window, size) in [
            (&[4, 4][..], (2, 2), (4, 4)),
            (&[4, 5, 1], (2, 2), (4, 4)),
            (&[6, 4, 1], (2, 2), (4, 4)),
            (&[4, 4, 1], (2, 2), (4, 5)),
            (&[4, 4, 1], (0, 2), (4, 4)),
            (&[4, 4, 1], (2, 2), (0, 4)),
            (&[4, 1, 1], (1, 1), (usize::MAX, usize::MAX)),
        ] {
            assert!(dims(windows, window, size).is_err(), "{windows:?}");
        }
    }
}
