//! Every pixel a weighted sum of its window in the mirrored map; channel c reads weight c mod Cw.
//!
//! Shapes       weight (N, Cw, k·k, Ho, Wo), v (N, C, H, W), stride (v, h) -> y (N, C, Ho, Wo), Ho = ⌈H/v⌉
//! Forward      (F1) p = v, mirrored ⌊k/2⌋ pixels beyond its border    (F2) y[c] = Σ_m weight[c mod Cw, m]·U(v)[c, m], read from p
//! Backward     (B1) dweight[g, m] = Σ dy[c]·U(v)[c, m] over c ≡ g    (B2) dp += weight[c mod Cw, m]·dy[c] where U reads
//!              (B3) dv = dp, its border folded back
//! Constraints  (C1) v has four axes    (C2) k is odd    (C3) ⌊k/2⌋ < H, W    (C4) shape of weight
//!
//! Channels that share a weight are taken [`TOGETHER`] at a time, so that it is read once for all of them.

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::pieces::pieces;
use crate::planes::{Frame, product, require_len};
use crate::real::Real;

/// Channels of one weight that are taken in one go, else one.
const TOGETHER: usize = 4;

pub struct Dims {
    images: usize,
    groups: usize,
    /// Channels that share a weight.
    share: usize,
    kernel: usize,
    stride: (usize, usize),
    frame: Frame,
    out: (usize, usize),
}

impl Dims {
    pub fn new(weight: &[usize], v: &[usize], kernel: usize, stride: (usize, usize)) -> Result<Dims, Error> {
        let &[images, channels, height, width] = v else {
            return Err(Error::Shape(format!("(C1) v: four axes expected, got shape {v:?}")));
        };
        require(kernel % 2 == 1, || format!("(C2) kernel_size: an odd number expected, got {kernel}"))?;
        require(kernel == 1 || kernel / 2 < height.min(width), || {
            format!("(C3) kernel_size: {kernel} is too large for a map of {height} × {width}")
        })?;
        require(stride.0 > 0 && stride.1 > 0, || format!("stride: positive numbers expected, got {stride:?}"))?;
        let (out, taps) = ((height.div_ceil(stride.0), width.div_ceil(stride.1)), product(&[kernel, kernel])?);
        let groups = weight.get(1).copied().unwrap_or(0);
        let fits = weight == [images, groups, taps, out.0, out.1] && groups > 0 && channels % groups == 0;
        require(fits, || {
            format!(
                "(C4) weight: ({images}, a divisor of {channels}, {taps}, {}, {}) expected, got {weight:?}",
                out.0, out.1
            )
        })?;
        product(weight)?;
        product(v)?;
        let frame = Frame::symmetric(height, width, kernel / 2, kernel / 2)?;
        product(&[frame.padded_height(), frame.padded_width(), 2 * TOGETHER])?;
        Ok(Dims { images, groups, share: channels / groups, kernel, stride, frame, out })
    }

    pub fn shape(&self) -> [usize; 4] {
        [self.images, self.groups * self.share, self.out.0, self.out.1]
    }

    fn plane(&self) -> usize {
        self.frame.height * self.frame.width
    }

    fn out_plane(&self) -> usize {
        self.out.0 * self.out.1
    }

    /// Elements of the weight of one group.
    fn weight_len(&self) -> usize {
        self.kernel * self.kernel * self.out_plane()
    }

    fn planes(&self) -> usize {
        self.images * self.groups * self.share
    }

    /// Channel planes in the order of the weights that they read.
    fn order(&self) -> impl Iterator<Item = usize> {
        let (groups, share) = (self.groups, self.share);
        let weights = (0..self.images).flat_map(move |n| (0..groups).map(move |g| (n, g)));
        weights.flat_map(move |(n, g)| (0..share).map(move |r| (n * share + r) * groups + g))
    }

    /// Plane of the channel number `r` of those that read weight `owner`.
    fn channel(&self, owner: usize, r: usize) -> usize {
        (owner / self.groups * self.share + r) * self.groups + owner % self.groups
    }

    /// The first channels and numbers of the steps in which the channels of a weight are taken.
    fn steps(&self) -> impl Iterator<Item = (usize, usize)> {
        let (whole, share) = (self.share / TOGETHER * TOGETHER, self.share);
        (0..whole).step_by(TOGETHER).map(|r| (r, TOGETHER)).chain((whole..share).map(|r| (r, 1)))
    }

    fn cost(&self) -> usize {
        self.planes().saturating_mul(self.weight_len()) / 12
    }
}

pub fn forward<T: Real>(weight: &[T], v: &[T], y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    require_len("weight", weight, d.images * d.groups * d.weight_len())?;
    require_len("v", v, d.planes() * d.plane())?;
    require_len("y", y, d.planes() * d.out_plane())?;
    if y.is_empty() {
        return Ok(());
    }
    let (plane, padded) = (d.plane(), d.frame.padded_len());
    let mut outputs = pieces(y, d.out_plane(), d.out_plane(), d.order())?;
    let mut left = &mut outputs[..];
    let steps = (0..d.images * d.groups).flat_map(|owner| d.steps().map(move |(r, n)| (owner, r, n)));
    let tasks = steps.map(|(owner, r, n)| {
        let (own, rest) = std::mem::take(&mut left).split_at_mut(n);
        left = rest;
        (owner, r, own)
    });
    exec.for_each_with(
        d.cost(),
        tasks,
        || zeros::<T>(TOGETHER * padded),
        |p, (owner, r, y)| {
            for (k, p) in p.chunks_exact_mut(padded).take(y.len()).enumerate() {
                d.frame.pad_reflect(&v[d.channel(owner, r + k) * plane..][..plane], p); // (F1)
            }
            let weight = &weight[owner * d.weight_len()..][..d.weight_len()];
            exec.run(Weighted { weight, p, y, d });
        },
    )
}

pub fn backward<T: Real>(
    dy: &[T],
    (weight, v): (&[T], &[T]),
    (dweight, dv): (&mut [T], &mut [T]),
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    require_len("weight", weight, d.images * d.groups * d.weight_len())?;
    require_len("v", v, d.planes() * d.plane())?;
    require_len("dy", dy, d.planes() * d.out_plane())?;
    require_len("dweight", dweight, weight.len())?;
    require_len("dv", dv, v.len())?;
    if v.is_empty() {
        dweight.fill(T::ZERO); // (B1) of no channels
        return Ok(());
    }
    let (plane, out_plane, padded) = (d.plane(), d.out_plane(), d.frame.padded_len());
    let mut outputs = pieces(dv, plane, plane, d.order())?;
    let tasks = dweight.chunks_exact_mut(d.weight_len()).zip(outputs.chunks_exact_mut(d.share)).enumerate();
    let scratch = || Ok((zeros::<T>(TOGETHER * padded)?, zeros::<T>(TOGETHER * padded)?));
    exec.for_each_with(d.cost().saturating_mul(3), tasks, scratch, |scratch, (owner, (dweight, dv))| {
        let (p, dp): &mut (Buffer<T>, Buffer<T>) = scratch;
        let weight = &weight[owner * d.weight_len()..][..d.weight_len()];
        for (r, n) in d.steps() {
            let mut planes = [&dy[..0]; TOGETHER];
            for (k, (p, dy_k)) in p.chunks_exact_mut(padded).zip(&mut planes).take(n).enumerate() {
                let channel = d.channel(owner, r + k);
                d.frame.pad_reflect(&v[channel * plane..][..plane], p); // (F1) again
                *dy_k = &dy[channel * out_plane..][..out_plane];
            }
            dp.fill(T::ZERO);
            exec.run(Adjoint { weight, p, dy: &planes[..n], dweight, add: r > 0, dp, d });
            for (dp, dv) in dp.chunks_exact_mut(padded).zip(&mut dv[r..r + n]) {
                d.frame.fold_reflect(dp, dv); // (B3)
            }
        }
    })
}

/// `n` elements `stride` apart.
#[inline(always)]
fn load<T: Real, I: Isa>(x: &[T], stride: usize, n: usize) -> V<T, I> {
    if stride == 1 { V::<T, I>::load_partial(x, n) } else { V::<T, I>::load_strided(x, stride, n) }
}

/// Outputs of the channels whose mirrored maps lie in `p` one after the other.
struct Weighted<'a, 'o, T> {
    weight: &'a [T],
    p: &'a [T],
    y: &'a mut [&'o mut [T]],
    d: &'a Dims,
}

impl<T: Real> Task for Weighted<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.y.len() {
            TOGETHER => self.channels::<I, TOGETHER>(),
            _ => self.channels::<I, 1>(),
        }
    }
}

impl<T: Real> Weighted<'_, '_, T> {
    #[inline(always)]
    fn channels<I: Isa, const R: usize>(self) {
        let Weighted { weight, p, y, d } = self;
        let (pitch, padded, (sh, sw), k) = (d.frame.padded_width(), d.frame.padded_len(), d.stride, d.kernel);
        let (out_plane, width, lanes) = (d.out_plane(), d.out.1, V::<T, I>::LANES);
        for i in 0..d.out.0 {
            let mut j = 0;
            while j < width {
                let n = lanes.min(width - j);
                let mut sums = [V::<T, I>::zero(); R];
                for u in 0..k {
                    let from = (i * sh + u) * pitch + j * sw;
                    for t in 0..k {
                        let w = V::<T, I>::load_partial(&weight[(u * k + t) * out_plane + i * width + j..], n);
                        for r in 0..R {
                            let x = load::<T, I>(&p[r * padded + from + t..], sw, n);
                            sums[r] = w.mul_add(x, sums[r]); // (F2)
                        }
                    }
                }
                for r in 0..R {
                    sums[r].store_partial(&mut y[r][i * width + j..], n);
                }
                j += n;
            }
        }
    }
}

/// Both gradients of the same channels: their part of `dweight`, and `dp`.
struct Adjoint<'a, T> {
    weight: &'a [T],
    p: &'a [T],
    dy: &'a [&'a [T]],
    dweight: &'a mut [T],
    add: bool,
    dp: &'a mut [T],
    d: &'a Dims,
}

impl<T: Real> Task for Adjoint<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        match self.dy.len() {
            TOGETHER => self.channels::<I, TOGETHER>(),
            _ => self.channels::<I, 1>(),
        }
    }
}

impl<T: Real> Adjoint<'_, T> {
    #[inline(always)]
    fn channels<I: Isa, const R: usize>(self) {
        let Adjoint { weight, p, dy, dweight, add, dp, d } = self;
        let (pitch, padded, (sh, sw), k) = (d.frame.padded_width(), d.frame.padded_len(), d.stride, d.kernel);
        let (out_plane, width, lanes) = (d.out_plane(), d.out.1, V::<T, I>::LANES);
        for i in 0..d.out.0 {
            // Taps of one column after the other: sums that overlap are not touched again at once.
            for (u, t) in (0..k * k).map(|m| (m % k, m / k)) {
                let (row, from) = ((u * k + t) * out_plane + i * width, (i * sh + u) * pitch + t);
                let (w, dw) = (&weight[row..row + width], &mut dweight[row..row + width]);
                let mut j = 0;
                while j < width {
                    let n = lanes.min(width - j);
                    let w = V::<T, I>::load_partial(&w[j..], n);
                    let mut sum = if add { V::<T, I>::load_partial(&dw[j..], n) } else { V::<T, I>::zero() };
                    for r in 0..R {
                        let at = r * padded + from + j * sw;
                        let g = V::<T, I>::load_partial(&dy[r][i * width + j..], n);
                        sum = g.mul_add(load::<T, I>(&p[at..], sw, n), sum); // (B1)
                        if sw == 1 {
                            let total = w.mul_add(g, V::<T, I>::load_partial(&dp[at..], n)); // (B2)
                            total.store_partial(&mut dp[at..], n);
                        } else {
                            let mut terms = [T::ZERO; crate::lanes::MAX_LANES];
                            (w * g).store(&mut terms);
                            for l in 0..n {
                                dp[at + l * sw] += terms[l]; // (B2)
                            }
                        }
                    }
                    sum.store_partial(&mut dw[j..], n);
                    j += n;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
