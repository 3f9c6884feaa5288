//! Four pixels around a point, channel by channel: the lengths are checked before, for all that is read and written there.

#![allow(unsafe_code)] // unchecked loads and stores, after the checks of `Corners::new`, `Corners::places` and `at_corners`

use super::{Isa, V, Vector};
use crate::real::Real;

/// A map with its channels last, of which `n` channels are used at a pixel, the next one, and those below them.
pub struct Corners<D> {
    data: D,
    channel: usize,
    width: usize,
    down: usize,
    n: usize,
    /// The last pixel that has all of these.
    last: usize,
}

impl<D> Corners<D> {
    /// `width` channels of every pixel, `row` pixels in a row; used are the `n` from `channel` on. Panics if no pixel has a next one.
    pub fn new<T>(data: D, (width, row): (usize, usize), channel: usize, n: usize) -> Self
    where
        D: AsRef<[T]>,
    {
        let down = row.checked_mul(width).expect("a row in memory");
        let after = [down, width, channel, n].into_iter().try_fold(0, usize::checked_add).expect("pixels in memory");
        let room = data.as_ref().len().checked_sub(after).expect("a pixel with a next one");
        Corners { data, channel, width, down, n, last: room / width.max(1) }
    }

    /// Where the used channels of `pixel` and of its neighbours begin.
    #[inline(always)]
    fn places(&self, pixel: usize) -> [usize; 4] {
        assert!(pixel <= self.last);
        let first = pixel * self.width + self.channel;
        [first, first + self.width, first + self.down, first + self.down + self.width]
    }
}

/// A row of numbers that lies in pieces of `piece` elements, `jump` apart from one beginning to the next. It begins `inside` elements after
/// the beginning of a piece.
pub struct Pieces<'a, T> {
    pub data: &'a mut [T],
    pub inside: usize,
    pub piece: usize,
    pub jump: usize,
}

/// What is done with a vector of channels.
pub trait AtCorners<T: Real, I: Isa> {
    /// Gets what the map holds at the four pixels, and `n` elements of the row; says what to add, by weight, at the four pixels of the
    /// sums, and what to leave in the row.
    fn step(&mut self, z: [V<T, I>; 4], row: V<T, I>, n: usize) -> (V<T, I>, V<T, I>);
}

/// Takes the channels in order. The first piece of the row begins at `start`.
#[inline(always)]
pub fn at_corners<T: Real, I: Isa>(
    pixel: usize,
    x: &Corners<&[T]>,
    sums: &mut Corners<&mut [T]>,
    weights: [V<T, I>; 4],
    row: &mut Pieces<T>,
    start: usize,
    work: &mut impl AtCorners<T, I>,
) {
    let lanes = V::<T, I>::LANES;
    let (from, to, n) = (x.places(pixel), sums.places(pixel), x.n);
    let Pieces { ref mut data, inside, piece, jump } = *row;
    assert!(n == sums.n && inside < piece);
    let (mut c, mut at, mut end) = (0, start + inside, piece - inside);
    if inside % lanes == 0 && n % lanes == 0 && piece % lanes == 0 && n > 0 {
        // The row's last element lies in its last piece.
        let last = (inside + n - 1) / piece;
        assert!(start < 1 << 60 && piece < 1 << 60 && jump < 1 << 40 && last < 1 << 20);
        assert!(start + last * jump + piece <= data.len());
        while c < n {
            let mut z = [V::<T, I>::zero(); 4];
            // SAFETY: `places` are four from which x and sums have n >= c + lanes elements; at + lanes is at most the end of the last piece.
            unsafe {
                for k in 0..4 {
                    z[k] = V::<T, I>::load(x.data.get_unchecked(from[k] + c..from[k] + c + lanes));
                }
                let row = data.get_unchecked_mut(at..at + lanes);
                let (add, left) = work.step(z, V::<T, I>::load(row), lanes);
                left.store(row);
                for k in 0..4 {
                    let to = sums.data.get_unchecked_mut(to[k] + c..to[k] + c + lanes);
                    weights[k].mul_add(add, V::<T, I>::load(to)).store(to);
                }
            }
            (c, at) = (c + lanes, at + lanes);
            if c == end {
                (at, end) = (at + jump - piece, end + piece);
            }
        }
    }
    while c < n {
        let count = (end - c).min(n - c).min(lanes);
        let mut z = [V::<T, I>::zero(); 4];
        for k in 0..4 {
            z[k] = V::<T, I>::load_partial(&x.data[from[k] + c..], count);
        }
        let row = &mut data[at..at + count];
        let (add, left) = work.step(z, V::<T, I>::load_partial(row, count), count);
        left.store_partial(row, count);
        for k in 0..4 {
            let to = &mut sums.data[to[k] + c..];
            weights[k].mul_add(add, V::<T, I>::load_partial(to, count)).store_partial(to, count);
        }
        (c, at) = (c + count, at + count);
        if c == end {
            (at, end) = (at + jump - piece, end + piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pixel_is_the_last_with_a_row_below_and_a_next_one() {
        // 3 rows of 4 pixels of 5 channels, 2 of them used from the third on: pixel 6 is followed by 7, 10 and 11.
        let corners = Corners::new(vec![0.0; 60], (5, 4), 2, 2);
        assert_eq!(corners.places(6), [32, 37, 52, 57]);
        let beyond = |corners: Corners<Vec<f64>>, pixel| std::panic::catch_unwind(|| corners.places(pixel)).is_err();
        assert!(beyond(corners, 7));
        assert!(std::panic::catch_unwind(|| Corners::new(vec![0.0; 28], (5, 4), 2, 2)).is_err());
        assert!(!beyond(Corners::new(vec![0.0; 29], (5, 4), 2, 2), 0));
        assert!(std::panic::catch_unwind(|| Corners::new(vec![0.0; 29], (usize::MAX, 4), 2, 2)).is_err());
    }
}
