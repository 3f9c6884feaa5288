//! Every frequency of a map multiplied by a learnt complex number of its channel.
//!
//! Shapes       x (N, C, H, W), weight (C, H, V, 2), V = ⌊W/2⌋ + 1 -> y (N, C, H, W)
//! Forward      (F1) X = rfft2(x)    (F2) Z = w·X    (F3) y = irfft2(Z): columns 0 and, if W is even, W/2 enter once, the others twice,
//!              and the imaginary part that those columns have after the transform along H drops out
//! Backward     (B1) dX = rfft2(dy)    (B2) dx = irfft2(conj(w)·dX)    (B3) dw = c_v·Σ_n conj(X)·dX
//! Constraints  (C1) four axes, at least one pixel    (C2) weight is (C, H, ⌊W/2⌋ + 1, 2)    (C3) holds by its type
//! Not finite   a plane that holds NaN or ±∞, or whose weights do, becomes NaN altogether
//!
//! A task owns as many channels as a vector has lanes, in some images. Their planes are transposed so that the lanes run over channels;
//! then every transform is a product of a small matrix with vectors. Each factor carries the root of its length ("ortho").

mod axis;
mod backward;
#[cfg(test)]
mod tests;
mod transform;

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::transpose;
use crate::lanes::{Isa, Task, V, Vector};
use crate::pieces::pieces;
use crate::planes::{product, require_len};
use crate::real::Real;

use axis::Axis;
pub use backward::backward;
use transform::{Folded, Grid};

pub struct Dims {
    images: usize,
    channels: usize,
    size: (usize, usize),
}

impl Dims {
    pub fn new(x: &[usize], weight: &[usize]) -> Result<Dims, Error> {
        let &[images, channels, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        require(height > 0 && width > 0, || format!("(C1) x: at least one pixel expected, got shape {x:?}"))?;
        let half = [channels, height, width / 2 + 1, 2];
        require(weight == half, || format!("(C2) weight: shape {half:?} expected, got {weight:?}"))?;
        product(x)?;
        product(weight)?;
        product(&[height + 2, width / 2 + 1, 2, crate::lanes::MAX_LANES])?;
        Ok(Dims { images, channels, size: (height, width) })
    }

    fn plane(&self) -> usize {
        self.size.0 * self.size.1
    }

    /// Frequencies of a plane.
    fn half(&self) -> usize {
        self.size.0 * (self.size.1 / 2 + 1)
    }

    fn check<T>(&self, x: &[T], weight: &[T], y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.images * self.channels * self.plane())?;
        require_len("y", y, self.images * self.channels * self.plane())?;
        require_len("weight", weight, self.channels * 2 * self.half())
    }

    /// Nanoseconds of one transform and back of a vector of planes.
    fn cost(&self) -> usize {
        self.plane().saturating_mul(self.size.0 + self.size.1) / 4
    }
}

/// Channels of a task at the level of `exec`.
fn lanes<T: Real>(exec: &Exec) -> usize {
    struct Lanes<T>(std::marker::PhantomData<T>);
    impl<T: Real> Task for Lanes<T> {
        type Out = usize;
        #[inline(always)]
        fn run<I: Isa>(self) -> usize {
            V::<T, I>::LANES
        }
    }
    exec.run(Lanes::<T>(std::marker::PhantomData))
}

/// Work space of a task; vectors over channels throughout.
struct Space<T> {
    /// (H, V), real and imaginary parts of one spectrum and, in the backward pass, of another.
    spectra: [Buffer<T>; 4],
    /// (H, V, 2), weights and their gradient.
    weights: [Buffer<T>; 2],
    steps: Steps<T>,
}

/// What the transforms need on the way.
struct Steps<T> {
    /// (W, H) before the transforms, (H, W) after them.
    tile: Buffer<T>,
    /// Real and imaginary parts between the transforms along W and along H: (H, V) forwards, (V, H) back.
    between: [Buffer<T>; 2],
    folded: Folded<T>,
}

impl<T: Real> Space<T> {
    fn new(d: &Dims, axes: &Axes<T>, lanes: usize, both: bool) -> Result<Space<T>, Error> {
        let half = d.half() * lanes;
        let second = if both { half } else { 0 };
        let (height, width) = d.size;
        let folded = (height * (width / 2 + 1)).max((height / 2 + 1) * (width / 2 + 1)) * lanes;
        Ok(Space {
            spectra: [zeros(half)?, zeros(half)?, zeros(second)?, zeros(second)?],
            weights: [zeros(2 * half)?, zeros(2 * second)?],
            steps: Steps {
                tile: zeros(d.plane() * lanes)?,
                between: [zeros(half)?, zeros(half)?],
                folded: Folded::new(folded, [&axes.rows, &axes.columns])?,
            },
        })
    }
}

struct Axes<T> {
    rows: Axis<T>,
    columns: Axis<T>,
}

impl<T: Real> Axes<T> {
    fn new(d: &Dims) -> Result<Axes<T>, Error> {
        Ok(Axes { rows: Axis::new(d.size.0)?, columns: Axis::new(d.size.1)? })
    }
}

/// The lanes of a task, and the channels that they stand for.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    count: usize,
}

pub fn forward<T: Real>(x: &[T], weight: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    d.check(x, weight, y)?;
    if y.is_empty() {
        return Ok(());
    }
    let (axes, lanes, plane) = (Axes::new(d)?, lanes::<T>(exec), d.plane());
    let blocks = d.channels.div_ceil(lanes);
    let order = (0..blocks).flat_map(|block| (0..d.images).map(move |n| n * blocks + block));
    let mut parts = pieces(y, d.channels * plane, lanes * plane, order)?;
    // All images of a block share its weights; fewer in one task where that leaves too few tasks.
    let each = d.images.div_ceil((4 * exec.threads()).div_ceil(blocks).min(d.images));
    let tasks = parts.chunks_mut(d.images).enumerate().flat_map(|(block, images)| {
        images.chunks_mut(each).enumerate().map(move |(at, images)| (block, at * each, images))
    });
    let cost = d.cost().saturating_mul(blocks * d.images);
    let space = || Space::new(d, &axes, lanes, false);
    exec.for_each_with(cost, tasks, space, |space, (block, first, images)| {
        let place = Place { first: block * lanes, count: lanes.min(d.channels - block * lanes) };
        exec.run(Filter { x, weight, first, images, place, axes: &axes, space, d });
    })
}

struct Filter<'a, 'b, T> {
    x: &'a [T],
    weight: &'a [T],
    first: usize,
    images: &'a mut [&'b mut [T]],
    place: Place,
    axes: &'a Axes<T>,
    space: &'a mut Space<T>,
    d: &'a Dims,
}

impl<T: Real> Task for Filter<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Filter { x, weight, first, images, place, axes, space, d } = self;
        let nought = load_weights::<T, I>(weight, place, space, d);
        for (k, y) in images.iter_mut().enumerate() {
            let ([re, im, _, _], steps) = (&mut space.spectra, &mut space.steps);
            let seen = spectrum::<T, I>(x, first + k, place, (re, im), steps, axes, d); // (F1)
            multiply::<T, I>(&space.weights[0], re, im, V::<T, I>::splat(T::ONE)); // (F2)
            inverse::<T, I>((re, im), nought + seen, y, place, steps, axes, d); // (F3)
        }
    }
}

/// The weights of the channels of a task, transposed; a vector of 0, but NaN in the lanes whose weights are not all finite.
#[inline(always)]
fn load_weights<T: Real, I: Isa>(weight: &[T], place: Place, space: &mut Space<T>, d: &Dims) -> V<T, I> {
    let len = 2 * d.half();
    let from = &weight[place.first * len..][..place.count * len];
    transpose::<T, I>(from, len, place.count, len, &mut space.weights[0], V::<T, I>::LANES);
    nought::<T, I>(&space.weights[0])
}

/// 0 in every lane, but NaN where a vector has a number that is not finite.
#[inline(always)]
fn nought<T: Real, I: Isa>(x: &[T]) -> V<T, I> {
    let (lanes, zero) = (V::<T, I>::LANES, V::<T, I>::zero());
    let mut sums = [zero; 4]; // one would have to wait for itself
    for (k, x) in x.chunks_exact(lanes).enumerate() {
        sums[k % 4] = V::<T, I>::load(x).mul_add(zero, sums[k % 4]);
    }
    sums[0] + sums[1] + (sums[2] + sums[3])
}

/// The half spectrum of the planes of image n, and `nought` of them.
#[inline(always)]
fn spectrum<T: Real, I: Isa>(
    x: &[T],
    n: usize,
    place: Place,
    (re, im): (&mut [T], &mut [T]),
    steps: &mut Steps<T>,
    axes: &Axes<T>,
    d: &Dims,
) -> V<T, I> {
    let Steps { tile, between: [a, b], folded } = steps;
    let (lanes, plane, (height, width)) = (V::<T, I>::LANES, d.plane(), d.size);
    let from = &x[(n * d.channels + place.first) * plane..][..place.count * plane];
    for i in 0..height {
        transpose::<T, I>(&from[i * width..], plane, place.count, width, &mut tile[i * lanes..], height * lanes);
    }
    let half = (width / 2 + 1) * lanes;
    axes.columns.real::<I>(tile, a, b, Grid { step: lanes, across: half }, folded);
    axes.rows.complex::<I>((a, b), (re, im), false, Grid { step: half, across: lanes }, folded);
    nought::<T, I>(tile)
}

/// (re, im) times the weights, whose imaginary part is multiplied by `sign`.
#[inline(always)]
fn multiply<T: Real, I: Isa>(weights: &[T], re: &mut [T], im: &mut [T], sign: V<T, I>) {
    let lanes = V::<T, I>::LANES;
    let mut k = 0;
    while k < re.len() {
        let (a, b) = (V::<T, I>::load(&weights[2 * k..]), sign * V::<T, I>::load(&weights[2 * k + lanes..]));
        let (x, y) = (V::<T, I>::load(&re[k..]), V::<T, I>::load(&im[k..]));
        (a * x - b * y).store(&mut re[k..]);
        a.mul_add(y, b * x).store(&mut im[k..]);
        k += lanes;
    }
}

/// The planes of a half spectrum, plus `nought`, into those of one image.
#[inline(always)]
fn inverse<T: Real, I: Isa>(
    spectrum: (&[T], &[T]),
    nought: V<T, I>,
    y: &mut [T],
    place: Place,
    steps: &mut Steps<T>,
    axes: &Axes<T>,
    d: &Dims,
) {
    let Steps { tile, between: [re, im], folded } = steps;
    let (lanes, (height, width)) = (V::<T, I>::LANES, d.size);
    axes.rows.complex::<I>(spectrum, (re, im), true, Grid { step: lanes, across: height * lanes }, folded);
    axes.columns.inverse::<I>((re, im), nought, tile, Grid { step: lanes, across: width * lanes }, folded);
    transpose::<T, I>(tile, lanes, d.plane(), place.count, y, d.plane());
}
