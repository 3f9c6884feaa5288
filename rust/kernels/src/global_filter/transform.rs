//! Transforms along one axis of planes of vectors (n, lines). What stands at j and at n − j is added and subtracted; then rows of cosines
//! meet the sums and rows of sines the differences, and the two products for k make the results for k and for n − k.

use super::axis::Axis;
use crate::error::Error;
use crate::exec::{Buffer, zeros};
use crate::gemm::pieces;
use crate::lanes::{Isa, Task, V, Vector};
use crate::real::Real;

/// The most rows of either matrix, and the most lines, that are multiplied at once: 24 sums, or with half of the lines 12.
pub const ROWS: usize = 3;
const LINES: usize = 4;

/// Vector k of line l of a result begins at k·step + l·across.
#[derive(Clone, Copy)]
pub struct Grid {
    pub step: usize,
    pub across: usize,
}

/// Sums and differences of the lines of a plane (j, line), two of each if they are complex; rows of matrices that are not kept.
pub struct Folded<T> {
    even: [Buffer<T>; 2],
    odd: [Buffer<T>; 2],
    rows: [Buffer<T>; 2],
}

impl<T: Real> Folded<T> {
    /// For planes with at most `len` sums.
    pub fn new(len: usize, axes: [&Axis<T>; 2]) -> Result<Folded<T>, Error> {
        let rows = axes[0].unkept().max(axes[1].unkept());
        Ok(Folded {
            even: [zeros(len)?, zeros(len)?],
            odd: [zeros(len)?, zeros(len)?],
            rows: [zeros(rows)?, zeros(rows)?],
        })
    }
}

impl<T: Real> Axis<T> {
    /// Half spectra (C − iS)·x of real lines, x (n, lines): re = C·even, im = −S·odd.
    #[inline(always)]
    pub fn real<I: Isa>(&self, x: &[T], re: &mut [T], im: &mut [T], grid: Grid, folded: &mut Folded<T>) {
        let Folded { even: [even, _], odd: [odd, _], rows } = folded;
        self.fold::<I>(x, true, even, odd);
        I::call(Products { axis: self, lines: lines_in::<T, I>(x.len(), self.n), even, odd, to: (re, im), grid, rows });
    }

    /// Spectra (C − iS)·(re + i·im) of complex lines, (n, lines): C·even(re) + S·odd(im) and C·even(im) − S·odd(re); `back` with C + iS.
    #[inline(always)]
    pub fn complex<I: Isa>(
        &self,
        (re, im): (&[T], &[T]),
        to: (&mut [T], &mut [T]),
        back: bool,
        grid: Grid,
        folded: &mut Folded<T>,
    ) {
        let Folded { even: [ere, eim], odd: [ore, oim], rows } = folded;
        self.fold::<I>(re, !back, ere, ore);
        self.fold::<I>(im, back, eim, oim);
        for (even, odd, to) in [(ere, oim, to.0), (eim, ore, to.1)] {
            I::call(Products { axis: self, lines: lines_in::<T, I>(re.len(), self.n), even, odd, to, grid, rows });
        }
    }

    /// Real lines C·even(re) − S·odd(im) of half spectra, (n/2 + 1, lines), plus `nought`.
    #[inline(always)]
    pub fn inverse<I: Isa>(
        &self,
        (re, im): (&[T], &[T]),
        nought: V<T, I>,
        x: &mut [T],
        grid: Grid,
        folded: &mut Folded<T>,
    ) {
        let Folded { even: [even, _], odd: [odd, _], rows } = folded;
        self.unfold::<I>((re, im), nought, even, odd);
        I::call(Products { axis: self, lines: lines_in::<T, I>(re.len(), self.half()), even, odd, to: x, grid, rows });
    }

    /// even = x_0, x_1 + x_{n−1}, …, and x_{n/2} if n is even; odd = x_1 − x_{n−1}, …, or the opposite.
    #[inline(always)]
    fn fold<I: Isa>(&self, x: &[T], minus: bool, even: &mut [T], odd: &mut [T]) {
        let (n, lanes) = (self.n, V::<T, I>::LANES);
        let row = x.len() / n;
        even[..row].copy_from_slice(&x[..row]);
        for j in 1..=self.m() {
            let (near, far) = (&x[j * row..][..row], &x[(n - j) * row..][..row]);
            let (first, second) = if minus { (far, near) } else { (near, far) };
            let sums = even[j * row..][..row].chunks_exact_mut(lanes);
            let differences = odd[(j - 1) * row..][..row].chunks_exact_mut(lanes);
            let both = first.chunks_exact(lanes).zip(second.chunks_exact(lanes));
            for ((a, b), (sum, difference)) in both.zip(sums.zip(differences)) {
                let (a, b) = (V::<T, I>::load(a), V::<T, I>::load(b));
                (a + b).store(sum);
                (a - b).store(difference);
            }
        }
        if n.is_multiple_of(2) {
            even[n / 2 * row..][..row].copy_from_slice(&x[n / 2 * row..][..row]);
        }
    }

    /// What [`Axis::fold`] would make of the whole spectrum, in which frequencies v and n − v are conjugates.
    #[inline(always)]
    fn unfold<I: Isa>(&self, (re, im): (&[T], &[T]), nought: V<T, I>, even: &mut [T], odd: &mut [T]) {
        let (n, lanes) = (self.n, V::<T, I>::LANES);
        let row = re.len() / self.half();
        let two = V::<T, I>::splat(T::ONE + T::ONE);
        for v in 0..self.half() {
            let times = if v == 0 || 2 * v == n { V::<T, I>::splat(T::ONE) } else { two };
            let plus = if v == 0 { nought } else { V::<T, I>::zero() }; // no cosine of v = 0 is 0: it reaches every pixel
            let to = even[v * row..][..row].chunks_exact_mut(lanes);
            for (re, to) in re[v * row..][..row].chunks_exact(lanes).zip(to) {
                times.mul_add(V::<T, I>::load(re), plus).store(to);
            }
        }
        for v in 1..=self.m() {
            let to = odd[(v - 1) * row..][..row].chunks_exact_mut(lanes);
            for (im, to) in im[v * row..][..row].chunks_exact(lanes).zip(to) {
                (-two * V::<T, I>::load(im)).store(to);
            }
        }
    }
}

/// Lines of vectors in a plane of `len` numbers, `along` vectors each.
fn lines_in<T: Real, I: Isa>(len: usize, along: usize) -> usize {
    len / along / V::<T, I>::LANES
}

/// Where cosine part a and sine part b of row k go, at `near`, and n − k, at `far`.
trait Target<T: Real> {
    fn put<A: Vector<Elem = T>>(&mut self, a: A, b: A, near: usize, far: usize);
    /// The same where k and n − k are one.
    fn put_end<A: Vector<Elem = T>>(&mut self, a: A, near: usize);
}

/// a + b for k, a − b for n − k.
impl<T: Real> Target<T> for &mut [T] {
    #[inline(always)]
    fn put<A: Vector<Elem = T>>(&mut self, a: A, b: A, near: usize, far: usize) {
        (a + b).store(&mut self[near..]);
        (a - b).store(&mut self[far..]);
    }
    #[inline(always)]
    fn put_end<A: Vector<Elem = T>>(&mut self, a: A, near: usize) {
        a.store(&mut self[near..]);
    }
}

/// a for k of one array, b for that of the other.
impl<T: Real> Target<T> for (&mut [T], &mut [T]) {
    #[inline(always)]
    fn put<A: Vector<Elem = T>>(&mut self, a: A, b: A, near: usize, _far: usize) {
        a.store(&mut self.0[near..]);
        b.store(&mut self.1[near..]);
    }
    #[inline(always)]
    fn put_end<A: Vector<Elem = T>>(&mut self, a: A, near: usize) {
        a.store(&mut self.0[near..]);
        A::zero().store(&mut self.1[near..]);
    }
}

/// All rows of both matrices times the lines of a plane.
struct Products<'a, T, O> {
    axis: &'a Axis<T>,
    lines: usize,
    even: &'a [T],
    odd: &'a [T],
    to: O,
    grid: Grid,
    rows: &'a mut [Buffer<T>; 2],
}

impl<T: Real, O: Target<T>> Task for Products<'_, T, O> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let each = if I::REGISTERS >= 32 { LINES } else { LINES / 2 };
        for lines in pieces(0..self.lines, each) {
            match lines.len() {
                4 if I::REGISTERS >= 32 => self.lines::<I, 4>(lines.start),
                3 if I::REGISTERS >= 32 => self.lines::<I, 3>(lines.start),
                2 => self.lines::<I, 2>(lines.start),
                _ => self.lines::<I, 1>(lines.start),
            }
        }
    }
}

impl<T: Real, O: Target<T>> Products<'_, T, O> {
    /// L lines from `line` on.
    #[inline(always)]
    fn lines<I: Isa, const L: usize>(&mut self, line: usize) {
        let (n, end) = (self.axis.n, self.axis.m() + 1);
        self.end::<I, L>(line, 0);
        if n.is_multiple_of(2) {
            self.end::<I, L>(line, n / 2);
        }
        for k in (1..end).step_by(ROWS) {
            match end - k {
                1 => self.rows::<I, 1, L>(line, k),
                2 => self.rows::<I, 2, L>(line, k),
                _ => self.rows::<I, ROWS, L>(line, k),
            }
        }
    }

    /// Row k where it is its own mirror image: there are no sines.
    #[inline(always)]
    fn end<I: Isa, const L: usize>(&mut self, line: usize, k: usize) {
        let [a] = product::<T, I, 1, L>(self.axis.cosines(k, 1, &mut self.rows[0]), self.even, line, self.lines);
        for l in 0..L {
            self.to.put_end(a[l], k * self.grid.step + (line + l) * self.grid.across);
        }
    }

    /// Rows k..k + R and their mirror images.
    #[inline(always)]
    fn rows<I: Isa, const R: usize, const L: usize>(&mut self, line: usize, k: usize) {
        let [cosines, sines] = &mut *self.rows;
        let a = product::<T, I, R, L>(self.axis.cosines(k, R, cosines), self.even, line, self.lines);
        let b = product::<T, I, R, L>(self.axis.sines(k, R, sines), self.odd, line, self.lines);
        let Grid { step, across } = self.grid;
        for r in 0..R {
            for l in 0..L {
                let start = (line + l) * across;
                self.to.put(a[r][l], b[r][l], (k + r) * step + start, (self.axis.n - k - r) * step + start);
            }
        }
    }
}

/// R rows of a matrix times L of the lines of x (depth, lines).
#[inline(always)]
fn product<T: Real, I: Isa, const R: usize, const L: usize>(
    matrix: &[T],
    x: &[T],
    line: usize,
    lines: usize,
) -> [[V<T, I>; L]; R] {
    let (lanes, depth) = (V::<T, I>::LANES, matrix.len() / R);
    let rows: [&[T]; R] = std::array::from_fn(|r| &matrix[r * depth..][..depth]);
    let mut sums = [[V::<T, I>::zero(); L]; R];
    for j in 0..depth {
        let x = &x[(j * lines + line) * lanes..][..L * lanes];
        for l in 0..L {
            let x = V::<T, I>::load(&x[l * lanes..]);
            for r in 0..R {
                sums[r][l] = V::<T, I>::splat(rows[r][j]).mul_add(x, sums[r][l]);
            }
        }
    }
    sums
}
