//! Memory that is read soon: the micro-kernel asks for it while it multiplies, and it is in the second cache when it is needed.

use std::ops::Range;

/// Shorter rows are not asked for: maps of 14 x 14 and less come fast enough by themselves.
const SHORT: usize = 256;

/// Some of the rows of one or two arrays, `len` elements of each, `pitch` apart.
#[derive(Clone)]
pub struct Ahead<'a, T> {
    /// From the first row on, and how many there are.
    arrays: [(&'a [T], usize); 2],
    pitch: usize,
    len: usize,
    rows: Range<usize>,
}

impl<'a, T: Copy> Ahead<'a, T> {
    pub const NOTHING: Self = Ahead { arrays: [(&[], 0); 2], pitch: 0, len: 0, rows: 0..0 };

    pub fn new(arrays: [(&'a [T], usize); 2], pitch: usize, len: usize) -> Self {
        if len < SHORT {
            return Ahead::NOTHING;
        }
        Ahead { arrays, pitch, len, rows: 0..arrays[0].1 + arrays[1].1 }
    }

    /// Two arrays that lie in one piece each, but for a short end.
    pub fn all(arrays: [&'a [T]; 2]) -> Self {
        Ahead::new(arrays.map(|x| (x, x.len() / SHORT)), SHORT, SHORT)
    }

    /// Part i of n.
    pub fn part(&self, i: usize, n: usize) -> Self {
        let rows = self.rows.len();
        Ahead { rows: self.rows.start + i * rows / n..self.rows.start + (i + 1) * rows / n, ..self.clone() }
    }

    pub fn is_nothing(&self) -> bool {
        self.rows.is_empty()
    }

    /// The order in which lines are asked for, in so many calls.
    pub fn lines(self, calls: usize) -> Lines<'a, T> {
        let each = (self.rows.len() * self.len.div_ceil(Lines::<T>::LINE)).div_ceil(calls.max(1));
        Lines { ahead: self, line: 0, each, left: 0 }
    }
}

/// Cache lines one after the other, an equal number for each call of the micro-kernel.
pub struct Lines<'a, T> {
    ahead: Ahead<'a, T>,
    line: usize,
    each: usize,
    left: usize,
}

impl<'a, T: Copy> Lines<'a, T> {
    /// Elements of a line.
    pub const LINE: usize = 64 / size_of::<T>();

    /// The lines of the next call.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.left = self.each;
    }

    /// Neighbours in memory, at most `most` of them, and their number.
    #[inline(always)]
    pub fn some(&mut self, most: usize) -> Option<(&'a [T], usize)> {
        let Ahead { arrays: [(first, rows), (second, _)], pitch, len, rows: Range { start: row, end } } = self.ahead;
        let n = most.min(self.left).min(len.div_ceil(Self::LINE) - self.line);
        if n == 0 || row >= end {
            return None;
        }
        let (x, row) = if row < rows { (first, row) } else { (second, row - rows) };
        let x = x.get(row * pitch + self.line * Self::LINE..).filter(|x| !x.is_empty())?;
        (self.left, self.line) = (self.left - n, self.line + n);
        if self.line * Self::LINE >= len {
            (self.ahead.rows.start, self.line) = (self.ahead.rows.start + 1, 0);
        }
        Some((x, n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_once() {
        let (x, y): (Vec<f64>, Vec<f64>) = (vec![0.0; 3000], vec![0.0; 2000]);
        for (calls, parts) in [(1, 1), (7, 1), (5, 3), (1000, 2)] {
            let ahead = Ahead::new([(&x, 3), (&y, 2)], 1000, 262);
            let mut found = Vec::new();
            for i in 0..parts {
                let mut lines = ahead.part(i, parts).lines(calls);
                for _ in 0..calls {
                    lines.begin();
                    while let Some((some, n)) = lines.some(9) {
                        let (base, at) = if x.as_ptr_range().contains(&some.as_ptr()) { (0, &x) } else { (3000, &y) };
                        let first = base + at.len() - some.len();
                        found.extend((0..n).map(|k| first + 8 * k));
                    }
                }
            }
            let expected: Vec<usize> = (0..5).flat_map(|row| (0..33).map(move |k| row * 1000 + 8 * k)).collect();
            assert_eq!(found, expected, "{calls} {parts}");
        }
    }

    #[test]
    fn all_but_a_short_end() {
        let x = [0.0f32; 3 * SHORT - 1];
        let mut lines = Ahead::all([&x, &x[..SHORT]]).lines(1);
        lines.begin();
        let mut found = 0;
        while let Some((some, n)) = lines.some(100) {
            assert!(16 * n <= some.len());
            found += n;
        }
        assert_eq!(found, 3 * SHORT / 16);
        assert!(Ahead::all([&x[..SHORT - 1], &x[..0]]).is_nothing());
    }

    #[test]
    fn nothing_of_short_rows_or_beyond_the_end() {
        let x = [0.0f32; 600];
        assert!(Ahead::new([(&x[..], 2), (&[], 0)], 300, SHORT - 1).is_nothing());
        let mut lines = Ahead::new([(&x[..], 3), (&[], 0)], 300, SHORT).lines(1);
        lines.begin();
        let mut count = 0;
        while let Some((_, n)) = lines.some(100) {
            count += n;
        }
        assert_eq!(count, 2 * SHORT / 16);
    }
}
