//! Convolution path of ACmix: the three projections of every head become k² maps, which a grouped convolution shifts and sums.
//!
//! Shapes       q, k, v (N, C, H, W), C = heads·d, channel n·d + e; fc_weight (k·k, 3·heads, 1, 1), fc_bias (k·k,),
//!              dep_conv_weight (C, k·k, k, k), dep_conv_bias (C,) -> y (N, C, ⌈H/sh⌉, ⌈W/sw⌉)
//! Forward      (F1) P = [q, k, v] as (N, 3·heads, d, H, W)    (F2) F[e, m] = Σ_t fc_weight[m, t]·P[t, e] + fc_bias[m]
//!              (F3) c = shift_conv(F): group e of d makes output channels e·heads + n    (F4) y = c in the channel order asked for
//! Backward     (B1) dc = dy in the order of (F3)    (B2) dF, ddep_conv_weight, ddep_conv_bias = backward of shift_conv
//!              (B3) dfc_weight[m, t] = Σ dF[e, m]·P[t, e]    (B4) dfc_bias[m] = Σ dF[e, m]    (B5) dP[t, e] = Σ_m fc_weight[m, t]·dF[e, m]
//! Constraints  (C1) q is (N, C, H, W); k and v have its shape    (C2) heads divides C, C ≥ heads
//!              (C3) dep_conv_weight is (C, k·k, k, k), k odd    (C4) fc_weight is (k·k, 3·heads, 1, 1)
//!              (C5) fc_bias is (k·k,), dep_conv_bias is (C,)    (C6) channel_order is "official" or "head_major"
//!
//! F is k²/heads times the input and never stored: a task is channel e of all heads of one image, and makes its k² maps in the second
//! cache, band by band. The backward makes them again.

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::pieces::{pieces, reserved};
use crate::planes::{product, require_len};
use crate::real::Real;
use crate::shift_conv::grid::Grid;
use crate::shift_conv::group::{Convolution, Scratch};
use crate::tap_sum::{TapSums, Taps, pack};

mod backward;
#[cfg(test)]
mod tests;

pub use backward::backward;
pub(crate) use backward::backward_onto;

type Pair = (usize, usize);

/// Whether output channels are numbered e·heads + n or, as the attention path's, n·d + e.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    Official,
    HeadMajor,
}

impl ChannelOrder {
    pub fn from_name(name: &str) -> Result<Self, Error> {
        match name {
            "official" => Ok(ChannelOrder::Official),
            "head_major" => Ok(ChannelOrder::HeadMajor),
            _ => {
                Err(Error::Shape(format!("(C6) channel_order: \"official\" or \"head_major\" expected, got {name:?}")))
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    heads: usize,
    /// d, the channels of a head.
    groups: usize,
    grid: Grid,
    order: ChannelOrder,
}

/// The arrays of a call: their shapes, their elements, or their gradients.
#[derive(Clone, Copy)]
pub struct Arguments<A> {
    pub q: A,
    pub k: A,
    pub v: A,
    pub fc_weight: A,
    pub dep_conv_weight: A,
    pub fc_bias: Option<A>,
    pub dep_conv_bias: Option<A>,
}

impl Dims {
    pub fn new(shapes: &Arguments<&[usize]>, heads: usize, stride: Pair, order: ChannelOrder) -> Result<Dims, Error> {
        let Arguments { q, k, v, fc_weight, dep_conv_weight, fc_bias, dep_conv_bias } = *shapes;
        let &[images, channels, height, width] = q else {
            return Err(Error::Shape(format!("(C1) q: (N, C, H, W) expected, got shape {q:?}")));
        };
        require(k == q && v == q, || format!("(C1) k, v: shape {q:?} of q expected, got {k:?} and {v:?}"))?;
        require(heads > 0 && channels % heads == 0 && channels >= heads, || {
            format!("(C2) heads: a divisor of {channels} channels expected, got {heads}")
        })?;
        let kernel = dep_conv_weight.last().copied().unwrap_or(0);
        let count = product(&[kernel, kernel])?;
        require(dep_conv_weight == [channels, count, kernel, kernel] && kernel % 2 == 1, || {
            format!("(C3) dep_conv_weight: ({channels}, k*k, k, k) with k odd expected, got shape {dep_conv_weight:?}")
        })?;
        require(fc_weight == [count, product(&[3, heads])?, 1, 1], || {
            format!("(C4) fc_weight: ({count}, 3*{heads}, 1, 1) expected, got shape {fc_weight:?}")
        })?;
        require(
            fc_bias.is_none_or(|bias| bias == [count]) && dep_conv_bias.is_none_or(|bias| bias == [channels]),
            || {
                format!(
                    "(C5) fc_bias: ({count},), dep_conv_bias: ({channels},) expected, got {fc_bias:?}, {dep_conv_bias:?}"
                )
            },
        )?;
        let grid = Grid::new(kernel, heads, (height, width), stride)?;
        product(q)?;
        product(dep_conv_weight)?;
        product(fc_weight)?;
        Ok(Dims { images, heads, groups: channels / heads, grid, order })
    }

    /// Shape of y.
    pub fn output(&self) -> [usize; 4] {
        [self.images, self.channels(), self.grid.out.0, self.grid.out.1]
    }

    fn channels(&self) -> usize {
        self.heads * self.groups
    }

    /// Channel of head n of group e in q, k and v.
    fn input_channel(&self, n: usize, e: usize) -> usize {
        n * self.groups + e
    }

    /// Channel of output n of group e in y.                                                        (F4) (B1)
    fn output_channel(&self, n: usize, e: usize) -> usize {
        match self.order {
            ChannelOrder::Official => e * self.heads + n,
            ChannelOrder::HeadMajor => n * self.groups + e,
        }
    }

    /// Planes of an array with C channels, head by head for each group of each image.
    fn planes(&self, channel: impl Fn(usize, usize) -> usize) -> impl Iterator<Item = usize> {
        (0..self.images * self.channels()).map(move |index| {
            let (group, n) = (index / self.heads, index % self.heads);
            group / self.groups * self.channels() + channel(n, group % self.groups)
        })
    }

    /// Nanoseconds of one thread, roughly.
    fn cost(&self) -> usize {
        let maps = self.images * self.groups * self.grid.count();
        let products = 3 * self.heads * self.grid.plane() + self.heads * self.grid.count() * self.grid.out_plane();
        maps.saturating_mul(products) / 16
    }
}

impl<T: Real> Arguments<&[T]> {
    fn check(&self, d: &Dims) -> Result<(), Error> {
        let (count, len) = (d.grid.count(), d.images * d.channels() * d.grid.plane());
        require_len("q", self.q, len)?;
        require_len("k", self.k, len)?;
        require_len("v", self.v, len)?;
        require_len("fc_weight", self.fc_weight, count * 3 * d.heads)?;
        require_len("dep_conv_weight", self.dep_conv_weight, d.channels() * count * count)?;
        self.fc_bias.map_or(Ok(()), |bias| require_len("fc_bias", bias, count))?;
        self.dep_conv_bias.map_or(Ok(()), |bias| require_len("dep_conv_bias", bias, d.channels()))
    }
}

/// (F1) and (F2): makes the maps of one group.
struct Mixer<'a, T> {
    d: &'a Dims,
    arguments: Arguments<&'a [T]>,
    /// P[t] = part t / heads (q, k or v), head t mod heads.
    table: Vec<Pair>,
    packed: Buffer<T>,
}

impl<'a, T: Real> Mixer<'a, T> {
    fn new(arguments: &Arguments<&'a [T]>, d: &'a Dims) -> Result<Self, Error> {
        let (taps, mut table) = (3 * d.heads, reserved(3 * d.heads)?);
        table.extend((0..taps).map(|t| (t / d.heads, d.input_channel(t % d.heads, 0) * d.grid.plane())));
        let mut packed = zeros(arguments.fc_weight.len())?;
        pack(d.grid.count(), taps, &mut packed, |m, t| arguments.fc_weight[m * taps + t]);
        Ok(Mixer { d, arguments: *arguments, table, packed })
    }

    /// P from input row `row` on.
    fn projections(&self, image: usize, e: usize, row: usize) -> Taps<'_, T> {
        let start = (image * self.d.channels() + e) * self.d.grid.plane() + row * self.d.grid.size.1;
        let Arguments { q, k, v, .. } = self.arguments;
        Taps { parts: [&q[start..], &k[start..], &v[start..]], table: &self.table }
    }

    /// F of a band, padded, into `scratch.maps`.
    fn run(&self, (image, e): Pair, band: usize, mixed: &mut [T], scratch: &mut Scratch<T>, exec: &Exec) {
        let (g, rows) = (&self.d.grid, self.d.grid.read_rows(band));
        let len = rows.len() * g.size.1;
        let sums = TapSums {
            taps: self.projections(image, e, rows.start),
            weight: &self.packed,
            bias: self.arguments.fc_bias,
            outputs: g.count(),
            len,
            add: false,
        };
        sums.run(mixed.chunks_exact_mut(len), exec); // (F2)
        for (map, padded) in mixed.chunks_exact(len).zip(scratch.maps.chunks_exact_mut(g.maps.len)) {
            g.lay(band, map, padded, exec);
        }
    }

    fn scratch(&self) -> Result<Buffer<T>, Error> {
        zeros(self.d.grid.count() * self.d.grid.most_rows() * self.d.grid.size.1)
    }
}

pub fn forward<T: Real>(arguments: &Arguments<&[T]>, y: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    arguments.check(d)?;
    require_len("y", y, d.images * d.channels() * d.grid.out_plane())?;
    if y.is_empty() {
        return Ok(());
    }
    let (g, out) = (&d.grid, d.grid.out_plane());
    let mixer = Mixer::new(arguments, d)?;
    let convolution = Convolution::new(g, arguments.dep_conv_weight)?;
    let mut planes = pieces(y, out, out, d.planes(|n, e| d.output_channel(n, e)))?; // (F4)
    let tasks = planes.chunks_exact_mut(d.heads).enumerate();
    let scratch = || Ok((mixer.scratch()?, Scratch::forward(g)?));
    exec.for_each_with(d.cost(), tasks, scratch, |(mixed, scratch), (index, y)| {
        let (image, e) = (index / d.groups, index % d.groups);
        for band in 0..g.bands {
            mixer.run((image, e), band, mixed, scratch, exec);
            let y = y.iter_mut().map(|plane| &mut **plane);
            convolution.run((e, band), arguments.dep_conv_bias, scratch, y, exec); // (F3)
        }
    })
}
