//! Geometry of one group: a band of output rows, the padded maps that it reads, and the way back.
//!
//! A padded plane is stored in stride phases: phase (a, b) holds the rows a, a + sh, … and the columns b, b + sw, … Then every kernel
//! tap reads neighbouring outputs from neighbouring elements, whatever the stride, and a whole band is one long row for `tap_sum`
//! (between two rows lie a few outputs that nobody keeps).

use std::ops::Range;

use crate::error::{Error, require};
use crate::exec::Exec;
use crate::pieces::reserved;
use crate::planes::product;
use crate::real::Real;
use crate::shift_conv::rectangle::{Rectangle, zero_around};

type Pair = (usize, usize);

/// Elements of the maps of one band, so that it stays in the second cache.
const BAND: usize = 1 << 16;

/// k×k taps with stride on planes (H, W), zeros outside; `outputs` results from k·k maps.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub kernel: usize,
    pub outputs: usize,
    pub size: Pair,
    pub stride: Pair,
    pub out: Pair,
    /// Output rows of a band; the last band may have fewer.
    pub rows: usize,
    pub bands: usize,
    pub maps: Plane,
    pub dy: Plane,
    /// Rows and columns of zeros above and before dy.
    before: Pair,
}

/// Layout of a padded plane: `phases` times `lines` rows of `pitch`.
#[derive(Clone, Copy, Debug)]
pub struct Plane {
    phases: Pair,
    lines: usize,
    pub pitch: usize,
    pub len: usize,
}

impl Plane {
    fn new(phases: Pair, lines: usize, pitch: usize) -> Result<Plane, Error> {
        Ok(Plane { phases, lines, pitch, len: product(&[phases.0, phases.1, lines, pitch])? })
    }
}

/// Part of the adjoint: the taps that reach input pixels (a + sh·Y, b + sw·X).
pub struct Phase {
    at: Pair,
    pub taps: Range<usize>,
}

/// Phases, table of taps, and (output r, kernel u, v) of each tap.
type AdjointTaps = (Vec<Phase>, Vec<Pair>, Vec<[usize; 3]>);

impl Grid {
    pub fn new(kernel: usize, outputs: usize, size: Pair, stride: Pair) -> Result<Grid, Error> {
        require(kernel % 2 == 1, || format!("kernel_size: an odd number expected, got {kernel}"))?;
        require(stride.0 > 0 && stride.1 > 0, || format!("stride: positive numbers expected, got {stride:?}"))?;
        let count = product(&[kernel, kernel])?;
        product(&[count, count, outputs])?;
        product(&[count, size.0, size.1])?;
        // A stride beyond the image reads its first pixel, as one of its size does.
        let stride = (stride.0.min(size.0.max(1)), stride.1.min(size.1.max(1)));
        let out = (size.0.div_ceil(stride.0), size.1.div_ceil(stride.1));
        let rows = (BAND / (count * size.1.max(1)) / stride.0).max(kernel).min(out.0).max(1);
        let (centre, columns) = (kernel / 2, out.1.max(1));
        let lines = (rows - 1).checked_add(kernel.div_ceil(stride.0));
        let before = (centre / stride.0, centre / stride.1);
        let after = (centre.div_ceil(stride.0), centre.div_ceil(stride.1));
        // One pitch for maps and dy: then their long rows can be multiplied element by element.
        let pitch = columns.checked_add(before.1 + after.1);
        let too_large = || Error::Shape(format!("kernel_size {kernel} is too large"));
        let (lines, pitch) = (lines.ok_or_else(too_large)?, pitch.ok_or_else(too_large)?);
        let phases = (kernel.min(stride.0), kernel.min(stride.1));
        let maps = Plane::new(phases, lines, pitch)?;
        let dy = Plane::new((1, 1), before.0 + rows + after.0, pitch)?;
        product(&[count, maps.len])?;
        product(&[outputs.max(count), dy.len])?;
        Ok(Grid { kernel, outputs, size, stride, out, rows, bands: out.0.div_ceil(rows), maps, dy, before })
    }

    /// Number of maps, and of taps on each: k·k.
    pub fn count(&self) -> usize {
        self.kernel * self.kernel
    }

    pub fn plane(&self) -> usize {
        self.size.0 * self.size.1
    }

    pub fn out_plane(&self) -> usize {
        self.out.0 * self.out.1
    }

    /// Output rows of a band.
    pub fn band(&self, band: usize) -> Range<usize> {
        band * self.rows..((band + 1) * self.rows).min(self.out.0)
    }

    /// Input rows that belong to a band: a partition of all.
    pub fn own_rows(&self, band: usize) -> Range<usize> {
        let rows = self.band(band);
        rows.start * self.stride.0..(rows.end * self.stride.0).min(self.size.0)
    }

    /// Input rows that the outputs of a band read.
    pub fn read_rows(&self, band: usize) -> Range<usize> {
        let (rows, centre) = (self.band(band), self.kernel / 2);
        (rows.start * self.stride.0).saturating_sub(centre)
            ..((rows.end - 1) * self.stride.0 + centre + 1).min(self.size.0)
    }

    /// Most input rows that a band reads or owns.
    pub fn most_rows(&self) -> usize {
        (self.rows * self.stride.0 + self.kernel - 1).min(self.size.0)
    }

    /// Elements of the long row over which a band of outputs is computed, and in which the rows of dy lie.
    pub fn long_row(&self, plane: &Plane, rows: usize) -> usize {
        (rows - 1) * plane.pitch + self.out.1
    }

    /// Zeros and the rows of one map, of which `rows` holds `read_rows`, in their places in `padded`.
    pub fn lay<T: Real>(&self, band: usize, rows: &[T], padded: &mut [T], exec: &Exec) {
        let (read, first, c) = (self.read_rows(band), self.band(band).start * self.stride.0, self.kernel / 2);
        let (plane, (sh, sw), width) = (&self.maps, self.stride, self.size.1);
        // Line l of phase a shows input row first + l·sh + a − c, element x of phase b input column x·sw + b − c.
        let inside = |offset: usize, start: usize, end: usize, step: usize, most: usize| {
            let from = (start + c).saturating_sub(offset).div_ceil(step).min(most);
            from..(end + c).saturating_sub(offset).div_ceil(step).clamp(from, most)
        };
        for a in 0..plane.phases.0 {
            let lines = inside(first + a, read.start, read.end, sh, plane.lines);
            for b in 0..plane.phases.1 {
                let columns = inside(b, 0, width, sw, plane.pitch);
                let phase =
                    &mut padded[(a * plane.phases.1 + b) * plane.lines * plane.pitch..][..plane.lines * plane.pitch];
                zero_around(phase, plane.pitch, &lines, &columns);
                if lines.is_empty() || columns.is_empty() {
                    continue;
                }
                let row = first + lines.start * sh + a - c - read.start;
                exec.run(Rectangle {
                    from: &rows[row * width + columns.start * sw + b - c..],
                    from_step: (sh * width, sw),
                    to: &mut phase[lines.start * plane.pitch + columns.start..],
                    to_step: (plane.pitch, 1),
                    size: (lines.len(), columns.len()),
                    factor: T::ONE,
                });
            }
        }
    }

    /// Taps of the convolution in the order of its weights: map, then kernel row, then kernel column.
    pub fn taps(&self) -> Result<Vec<Pair>, Error> {
        let (plane, (sh, sw)) = (&self.maps, self.stride);
        let mut table = reserved(self.count() * self.count())?;
        for m in 0..self.count() {
            for u in 0..self.kernel {
                for v in 0..self.kernel {
                    let phase = (u % sh) * plane.phases.1 + v % sw;
                    table.push((0, m * plane.len + (phase * plane.lines + u / sh) * plane.pitch + v / sw));
                }
            }
        }
        Ok(table)
    }

    /// The long row of one output, row by row into its rows of y.
    pub fn crop<T: Real>(&self, long_row: &[T], y: &mut [T], exec: &Exec) {
        let size = (y.len() / self.out.1, self.out.1);
        let (from_step, to_step) = ((self.maps.pitch, 1), (self.out.1, 1));
        exec.run(Rectangle { from: long_row, from_step, to: y, to_step, size, factor: T::ONE });
    }

    /// factor·dy of one output (the whole plane), with the zeros around a band.
    pub fn lay_dy<T: Real>(&self, band: usize, factor: T, dy: &[T], padded: &mut [T], exec: &Exec) {
        let (first, before, width) = (self.band(band).start, self.before, self.out.1);
        let start = before.0.saturating_sub(first);
        let lines = start..(self.out.0 + before.0 - first).min(self.dy.lines);
        zero_around(padded, self.dy.pitch, &lines, &(before.1..before.1 + width));
        exec.run(Rectangle {
            from: &dy[(first + start - before.0) * width..],
            from_step: (width, 1),
            to: &mut padded[start * self.dy.pitch + before.1..],
            to_step: (self.dy.pitch, 1),
            size: (lines.len(), width),
            factor,
        });
    }

    /// Where the first row of a band starts in its padded dy.
    pub fn dy_start(&self) -> usize {
        self.before.0 * self.dy.pitch + self.before.1
    }

    /// The adjoint's taps: for each phase of input pixels those that reach it.
    pub fn adjoint_taps(&self) -> Result<AdjointTaps, Error> {
        let (k, centre, (sh, sw)) = (self.kernel, self.kernel / 2, self.stride);
        let total = self.outputs * self.count();
        let (mut phases, mut table, mut weights) = (reserved(self.count())?, reserved(total)?, reserved(total)?);
        for a in (0..sh).filter(|a| (a + centre) % sh < k) {
            for b in (0..sw).filter(|b| (b + centre) % sw < k) {
                let start = table.len();
                for r in 0..self.outputs {
                    for u in ((a + centre) % sh..k).step_by(sh) {
                        for v in ((b + centre) % sw..k).step_by(sw) {
                            // Output i = Y + (a + c − u)/sh, exact; with the zeros before it the index is not negative.
                            let l = (self.before.0 * sh + a + centre - u) / sh;
                            let x = (self.before.1 * sw + b + centre - v) / sw;
                            table.push((0, r * self.dy.len + l * self.dy.pitch + x));
                            weights.push([r, u, v]);
                        }
                    }
                }
                phases.push(Phase { at: (a, b), taps: start..table.len() });
            }
        }
        Ok((phases, table, weights))
    }

    /// The long row of one phase and map into dmap, which holds `own_rows`.
    pub fn spread<T: Real>(&self, phase: &Phase, long_row: &[T], dmap: &mut [T], exec: &Exec) {
        let ((a, b), (sh, sw), width) = (phase.at, self.stride, self.size.1);
        let size = ((dmap.len() / width).saturating_sub(a).div_ceil(sh), (width - b).div_ceil(sw));
        if size.0 > 0 {
            let (from_step, to_step) = ((self.dy.pitch, 1), (sh * width, sw));
            let to = &mut dmap[a * width + b..];
            exec.run(Rectangle { from: long_row, from_step, to, to_step, size, factor: T::ONE });
        }
    }

    /// Some input pixels are read by no output.
    pub fn has_gaps(&self) -> bool {
        self.kernel < self.stride.0 || self.kernel < self.stride.1 || self.outputs == 0
    }

    /// The adjoint without zeros around dy, pixel by pixel: a weight that is not finite must not meet them. `dy` is padded,
    /// `dmap` holds `own_rows` of map m, `weight` is that of the group.
    pub fn spread_literally<T: Real>(&self, band: usize, m: usize, weight: &[T], dy: &[T], dmap: &mut [T]) {
        let (own, first, (sh, sw), c) = (self.own_rows(band), self.band(band).start, self.stride, self.kernel / 2);
        dmap.fill(T::ZERO);
        for r in 0..self.outputs {
            for l in 0..self.dy.len / self.dy.pitch {
                // Output row i lies in line i + before − first.
                let Some(i) = (first + l).checked_sub(self.before.0).filter(|&i| i < self.out.0) else { continue };
                for u in 0..self.kernel {
                    let Some(y) = (i * sh + u).checked_sub(c).filter(|y| own.contains(y)) else { continue };
                    for v in 0..self.kernel {
                        let w = weight[((r * self.count() + m) * self.kernel + u) * self.kernel + v];
                        for j in 0..self.out.1 {
                            let Some(x) = (j * sw + v).checked_sub(c).filter(|&x| x < self.size.1) else { continue };
                            dmap[(y - own.start) * self.size.1 + x] +=
                                w * dy[r * self.dy.len + l * self.dy.pitch + self.before.1 + j];
                        }
                    }
                }
            }
        }
    }
}
