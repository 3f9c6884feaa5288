//! Multi-head mixed convolution: the channels are cut into heads, and each head is filtered depthwise by kernels of its own size.
//!
//! Shapes       x (N, C, H, W), weight (M, Σ k²), bias (C,), kernel_sizes -> y (N, C, H, W), M = C/heads; channel t·M + i is channel i of
//!              head t; row i of weight holds its taps for all heads, side by side
//! Forward      (F1) x is padded with ⌊k_t/2⌋ zeros    (F2) y = Σ_pq K_t[i, p, q]·x at the pixel of tap (p, q)    (F3) y += bias
//! Backward     (B1) dbias = Σ dy    (B2) dK_t[i, p, q] = Σ dy·x at the pixel of tap (p, q)
//!              (B3) dx padded receives K_t[i, p, q]·dy at the pixel that tap (p, q) read; its border is cut off
//! Constraints  (C1) x is (N, C, H, W)    (C2) kernel_sizes are odd, at least one    (C3) heads divides C    (C4) weight is (M, Σ k²)
//!              (C5) bias, if given, is (C,)
//!
//! The channels of a head in an image are one piece of memory, on which the depthwise kernels run as they are: a task is such a piece, or
//! some of its channels. Nothing is split or joined but the small weight.

use crate::conv2d;
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::pieces::reserved;
use crate::planes::{product, require_len};
use crate::real::Real;

#[derive(Clone, Debug)]
pub struct Dims {
    images: usize,
    channels: usize,
    size: (usize, usize),
    /// Channels of a head.
    each: usize,
    /// Taps of a channel in all heads.
    taps: usize,
    heads: Vec<Head>,
}

/// One head: its first column of the weight, and the convolution of its channels in one image.
#[derive(Clone, Copy, Debug)]
struct Head {
    first: usize,
    conv: conv2d::Dims,
}

impl Head {
    fn taps(&self) -> usize {
        self.conv.taps()
    }

    /// Nanoseconds of one plane, roughly.
    fn cost(&self) -> usize {
        (self.taps() / 32 + 1).saturating_mul(self.conv.size.0 * self.conv.size.1)
    }

    /// The convolution of `channels` of its channels.
    fn part(&self, channels: usize) -> conv2d::Dims {
        conv2d::Dims { inputs: channels, outputs: channels, groups: channels, ..self.conv }
    }
}

/// Nanoseconds of a task at most, roughly.
const LONGEST: usize = 2_000_000;

impl Dims {
    pub fn new(x: &[usize], weight: &[usize], bias: Option<&[usize]>, kernel_sizes: &[usize]) -> Result<Dims, Error> {
        let &[images, channels, height, width] = x else {
            return Err(Error::Shape(format!("(C1) x: (N, C, H, W) expected, got shape {x:?}")));
        };
        require(!kernel_sizes.is_empty() && kernel_sizes.iter().all(|k| k % 2 == 1), || {
            format!("(C2) kernel_sizes: odd numbers expected, got {kernel_sizes:?}")
        })?;
        require(channels % kernel_sizes.len() == 0, || {
            format!(
                "(C3) kernel_sizes: a number of them that divides {channels} channels expected, got {}",
                kernel_sizes.len()
            )
        })?;
        let each = channels / kernel_sizes.len();
        let squares = kernel_sizes.iter().try_fold(0usize, |sum, &k| sum.checked_add(k.checked_mul(k)?));
        let taps = squares.ok_or_else(|| Error::Shape(format!("(C2) kernel_sizes: {kernel_sizes:?} are too large")))?;
        require(weight == [each, taps], || format!("(C4) weight: ({each}, {taps}) expected, got shape {weight:?}"))?;
        require(bias.is_none_or(|b| b == [channels]), || {
            format!("(C5) bias: ({channels},) expected, got shape {bias:?}")
        })?;
        product(x)?;
        product(&[images, each, taps])?;
        let mut d = Dims { images, channels, size: (height, width), each, taps, heads: reserved(kernel_sizes.len())? };
        if d.len() > 0 {
            let mut first = 0;
            for &k in kernel_sizes {
                let one = (1, 1);
                let conv = conv2d::Dims::new(
                    &[1, each, height, width],
                    &[each, 1, k, k],
                    None,
                    one,
                    (k / 2, k / 2),
                    one,
                    each,
                )?;
                d.heads.push(Head { first, conv });
                first += k * k;
            }
        }
        Ok(d)
    }

    fn plane(&self) -> usize {
        self.size.0 * self.size.1
    }

    fn len(&self) -> usize {
        self.images * self.channels * self.size.0 * self.size.1
    }

    fn cost(&self) -> usize {
        let image = self.heads.iter().fold(0usize, |sum, head| sum.saturating_add(head.cost()));
        image.saturating_mul(self.images * self.each)
    }

    fn check<T>(&self, x: &[T], weight: &[T], bias: Option<&[T]>, y: &[T]) -> Result<(), Error> {
        require_len("x", x, self.len())?;
        require_len("weight", weight, self.each * self.taps)?;
        bias.map_or(Ok(()), |bias| require_len("bias", bias, self.channels))?;
        require_len("y", y, self.len())
    }

    /// The weight with the channels of a head one after the other, head by head.
    fn by_head<T: Real>(&self, weight: &[T]) -> Result<Buffer<T>, Error> {
        let mut ordered = zeros(weight.len())?;
        for head in &self.heads {
            let taps = head.taps();
            let to = ordered[head.first * self.each..].chunks_exact_mut(taps);
            for (to, from) in to.zip(weight.chunks_exact(self.taps)) {
                to.copy_from_slice(&from[head.first..head.first + taps]);
            }
        }
        Ok(ordered)
    }

    /// Channels of a task.
    fn part(&self, head: &Head) -> usize {
        (LONGEST / head.cost().max(1)).clamp(1, self.each)
    }

    /// The channels from `first` on of head `at`, counted through all images.
    fn place(&self, at: usize, first: usize) -> Place {
        let channel = at % self.heads.len() * self.each + first;
        Place { channel, first, start: (at * self.each + first) * self.plane() }
    }

    /// Of a weight by heads, the rows of a task.
    fn rows<'a, T>(&self, weight: &'a [T], head: &Head, at: &Place, channels: usize) -> &'a [T] {
        &weight[head.first * self.each + at.first * head.taps()..][..channels * head.taps()]
    }
}

/// Where the channels of a task are: the first one in x and in its head, and its first element.
struct Place {
    channel: usize,
    first: usize,
    start: usize,
}

pub fn forward<T: Real>(
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, bias, y)?;
    if d.len() == 0 {
        return Ok(());
    }
    let (weight, plane) = (d.by_head(weight)?, d.plane());
    let tasks = y.chunks_mut(d.each * plane).enumerate().flat_map(|(at, y)| {
        let head = &d.heads[at % d.heads.len()];
        y.chunks_mut(d.part(head) * plane).enumerate().map(move |(k, y)| (head, d.place(at, k * d.part(head)), y))
    });
    exec.try_for_each_with(
        d.cost(),
        tasks,
        || Ok(()),
        |(), (head, at, y)| {
            let (channels, alone) = (y.len() / plane, Exec::new(1, exec.level(), &|| false));
            let weight = d.rows(&weight, head, &at, channels);
            let bias = bias.map(|bias| &bias[at.channel..at.channel + channels]);
            conv2d::forward(&x[at.start..][..y.len()], weight, bias, y, &head.part(channels), &alone) // (F1) (F2) (F3)
        },
    )
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    mut dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    d.check(x, weight, dbias.as_deref(), dy)?;
    require_len("dx", dx, d.len())?;
    require_len("dweight", dweight, d.each * d.taps)?;
    dweight.fill(T::ZERO);
    if let Some(dbias) = &mut dbias {
        dbias.fill(T::ZERO);
    }
    if d.len() == 0 {
        return Ok(());
    }
    // Every image by itself, dweight and dbias head by head; then the images are added in order.
    let (weight, plane, wanted) = (d.by_head(weight)?, d.plane(), dbias.is_some());
    let (mut dweights, mut dbiases) = (zeros(d.images * dweight.len())?, zeros(d.images * d.channels)?);
    let (mut rest, mut rest_of_biases) = (&mut dweights[..], &mut dbiases[..]);
    let mut tasks = reserved(d.images * d.channels)?;
    for (at, dx) in dx.chunks_mut(d.each * plane).enumerate() {
        let head = &d.heads[at % d.heads.len()];
        for (k, dx) in dx.chunks_mut(d.part(head) * plane).enumerate() {
            let channels = dx.len() / plane;
            let dweight = rest.split_off_mut(..channels * head.taps()).expect("all weights");
            let dbias = rest_of_biases.split_off_mut(..channels).expect("all channels");
            tasks.push((head, d.place(at, k * d.part(head)), dx, dweight, wanted.then_some(dbias)));
        }
    }
    exec.try_for_each_with(
        d.cost().saturating_mul(3),
        tasks.into_iter(),
        || Ok(()),
        |(), (head, at, dx, dweight, dbias)| {
            let (channels, alone) = (dx.len() / plane, Exec::new(1, exec.level(), &|| false));
            let (dy, x) = (&dy[at.start..][..dx.len()], &x[at.start..][..dx.len()]);
            let weight = d.rows(&weight, head, &at, channels);
            conv2d::backward(dy, x, weight, dx, dweight, dbias, &head.part(channels), &alone) // (B1) (B2) (B3)
        },
    )?;
    for part in dweights.chunks_exact(dweight.len()) {
        for head in &d.heads {
            let from = part[head.first * d.each..].chunks_exact(head.taps());
            for (to, from) in dweight.chunks_exact_mut(d.taps).zip(from) {
                for (to, &from) in to[head.first..][..head.taps()].iter_mut().zip(from) {
                    *to += from; // (B2)
                }
            }
        }
    }
    if let Some(dbias) = dbias {
        for part in dbiases.chunks_exact(d.channels) {
            for (to, &from) in dbias.iter_mut().zip(part) {
                *to += from; // (B1)
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
