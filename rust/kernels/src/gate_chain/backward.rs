//! The chain walked back: gates by one pass over their maps, projections by the pointwise convolution's kernels.

use super::gate::times;
use super::{Arguments, Dims};
use crate::conv2d;
use crate::error::Error;
use crate::exec::{Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::require_len;
use crate::real::Real;

/// Elements of one task, all in the caches of a core.
const PIECE: usize = 1 << 13;

pub struct Gradients<'a, T> {
    pub p0: &'a mut [T],
    pub filtered: &'a mut [T],
    pub weight: Option<&'a mut [T]>,
    pub bias: Option<&'a mut [T]>,
}

pub fn backward<T: Real>(
    dy: &[T],
    arguments: &Arguments<T>,
    u: &[T],
    gradients: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let mut space = zeros(work_space(d))?;
    backward_in(&mut space, dy, arguments, u, gradients, d, exec)
}

/// Elements that `backward_in` works in.
pub(crate) fn work_space(d: &Dims) -> usize {
    if d.order > 1 { 2 * d.images * d.pixels() * d.width(d.order - 1) } else { 0 }
}

/// The backward pass in the caller's work space: du_k in its first half, dp_k and p_k in the quarters after it.
pub(crate) fn backward_in<T: Real>(
    space: &mut [T],
    dy: &[T],
    arguments: &Arguments<T>,
    u: &[T],
    mut gradients: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(arguments, dy, u)?;
    require_len("dp0", gradients.p0, arguments.p0.len())?;
    require_len("dfiltered", gradients.filtered, arguments.filtered.len())?;
    let (plane, widest) = (d.images * d.pixels(), work_space(d) / 2);
    let (du, rest) = space.split_at_mut(widest);
    let (dp, p) = rest.split_at_mut(widest / 2);
    for k in (1..d.order).rev() {
        let (wide, narrow) = (plane * d.width(k), plane * d.width(k - 1));
        let from = if k + 1 == d.order { dy } else { &dp[..wide] };
        gates(k, from, arguments, u, gradients.filtered, &mut du[..wide], d, exec)?; // (B1) (B2)
        gated(k - 1, arguments, u, &mut p[..narrow], d, exec)?; // (F2) again
        let conv = conv2d::Dims::pointwise(d.images, d.width(k - 1), d.width(k), d.pixels())?;
        let (matrix, values) = d.packed(k);
        let weight = &arguments.weight.unwrap_or_default()[matrix.clone()];
        let missing = || Error::Shape("(C4) dweight: an array expected, got none".to_owned());
        let dweight = gradients.weight.as_deref_mut().ok_or_else(missing)?;
        let dbias = gradients.bias.as_deref_mut().map(|bias| &mut bias[values]);
        conv2d::backward(
            &du[..wide],
            &p[..narrow],
            weight,
            &mut dp[..narrow],
            &mut dweight[matrix],
            dbias,
            &conv,
            exec,
        )?; // (B3)
    }
    let from = if d.order == 1 { dy } else { &dp[..plane * d.first] };
    gates(0, from, arguments, u, gradients.filtered, gradients.p0, d, exec) // (B4)
}

/// df_k, among the gradients of all gates, and du_k                                                                        (B1) (B2)
#[allow(clippy::too_many_arguments)]
fn gates<T: Real>(
    k: usize,
    dp: &[T],
    arguments: &Arguments<T>,
    u: &[T],
    dfiltered: &mut [T],
    du: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let own = d.width(k) * d.pixels();
    if du.is_empty() {
        return Ok(());
    }
    let images = dfiltered.chunks_exact_mut(d.gates() * d.pixels()).zip(du.chunks_exact_mut(own));
    let tasks = images.enumerate().flat_map(|(n, (df, du))| {
        let pieces = df[d.before(k) * d.pixels()..][..own].chunks_mut(PIECE).zip(du.chunks_mut(PIECE));
        pieces.enumerate().map(move |(at, (df, du))| (n, at * PIECE, df, du))
    });
    exec.for_each(2 * d.images * own, tasks, |(n, at, df, du)| {
        let dp = &dp[n * own + at..][..du.len()];
        let f = &gate(k, n, arguments, d)[at..][..du.len()];
        let u = &factor(k, n, arguments, u, d)[at..][..du.len()];
        exec.run(Both { scale: arguments.scale, dp, f, u, df, du });
    })
}

/// f_k of image n.
fn gate<'a, T>(k: usize, n: usize, arguments: &Arguments<'a, T>, d: &Dims) -> &'a [T] {
    &arguments.filtered[(n * d.gates() + d.before(k)) * d.pixels()..][..d.width(k) * d.pixels()]
}

/// u_k of image n.
fn factor<'a, T>(k: usize, n: usize, arguments: &Arguments<'a, T>, u: &'a [T], d: &Dims) -> &'a [T] {
    let (all, channels, first) = if k == 0 { (arguments.p0, d.first, 0) } else { (u, d.projected(), d.row(k)) };
    &all[(n * channels + first) * d.pixels()..][..d.width(k) * d.pixels()]
}

/// p_{k+1} = scale·f_k·u_k of all images.
pub(crate) fn gated<T: Real>(
    k: usize,
    arguments: &Arguments<T>,
    u: &[T],
    p: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let own = d.width(k) * d.pixels();
    if p.is_empty() {
        return Ok(());
    }
    let tasks = p
        .chunks_exact_mut(own)
        .enumerate()
        .flat_map(|(n, p)| p.chunks_mut(PIECE).enumerate().map(move |(at, p)| (n, at * PIECE, p)));
    exec.for_each(d.images * own, tasks, |(n, at, p)| {
        let f = &gate(k, n, arguments, d)[at..][..p.len()];
        let u = &factor(k, n, arguments, u, d)[at..][..p.len()];
        exec.run(Times { scale: arguments.scale, f, u, p });
    })
}

struct Times<'a, T> {
    scale: T,
    f: &'a [T],
    u: &'a [T],
    p: &'a mut [T],
}

impl<T: Real> Task for Times<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        times::<T, I>(self.scale, self.f, self.u, self.p);
    }
}

struct Both<'a, T> {
    scale: T,
    dp: &'a [T],
    f: &'a [T],
    u: &'a [T],
    df: &'a mut [T],
    du: &'a mut [T],
}

impl<T: Real> Task for Both<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (lanes, len, scale) = (V::<T, I>::LANES, self.dp.len(), V::<T, I>::splat(self.scale));
        let (dp, f, u, df, du) = (self.dp, &self.f[..len], &self.u[..len], &mut self.df[..len], &mut self.du[..len]);
        let mut k = 0;
        while k + lanes <= len {
            let v = scale * V::<T, I>::load(&dp[k..]);
            (v * V::<T, I>::load(&u[k..])).store(&mut df[k..]);
            (v * V::<T, I>::load(&f[k..])).store(&mut du[k..]);
            k += lanes;
        }
        if k < len {
            let n = len - k;
            let v = scale * V::<T, I>::load_partial(&dp[k..], n);
            (v * V::<T, I>::load_partial(&u[k..], n)).store_partial(&mut df[k..], n);
            (v * V::<T, I>::load_partial(&f[k..], n)).store_partial(&mut du[k..], n);
        }
    }
}
