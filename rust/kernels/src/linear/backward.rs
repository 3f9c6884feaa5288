//! The backward in one pass over the tokens, for a matrix that stays in the cache with a block of them. Apart, the steps read dy from
//! memory three times.

use std::ops::Range;

use super::Dims;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{Ahead, DEPTH, MAX_ROWS, Matrix, Onto, PANEL, PITCH, Panels, Share, Tiles, even, tile_rows};
use crate::lanes::{self, Isa, Task};
use crate::pieces::reserved;
use crate::real::Real;
use crate::sums;

/// Parts that the tokens are cut into; each has sums of its own.
const PARTS: usize = 16;

/// Most elements of the matrix.
const MOST: usize = 1 << 16;

/// Tokens times weights of one task: about 10 ms. Tests have several rounds.
const MOST_WORK: usize = if cfg!(test) { 1 << 10 } else { 1 << 28 };

/// Whether there are so few weights, and so many tokens.
pub fn serves(d: &Dims) -> bool {
    let weights = d.inputs.saturating_mul(d.outputs);
    let (few, short) = if cfg!(test) { (PARTS, 3) } else { (PARTS * DEPTH, DEPTH) };
    let small = d.outputs <= DEPTH && 0 < weights && weights <= MOST;
    small && d.tokens >= few && d.map.is_none_or(|map| map >= short)
}

#[allow(clippy::too_many_arguments)]
pub fn backward<T: Real>(
    dy: &[T],
    x: &[T],
    weight: &[T],
    dx: &mut [T],
    dweight: &mut [T],
    dbias: Option<&mut [T]>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let Dims { inputs, outputs, .. } = *d;
    let (sums, pass) = ((inputs + 1) * outputs, Pass { dy, x, weight, d });
    let mut parts = zeros(PARTS * sums)?;
    // Very many tokens go in rounds, so that no task lasts long.
    let round = PARTS * (MOST_WORK / (inputs * outputs)).max(DEPTH);
    for dx in Share::of_result(dx, 1, d.tokens, inputs).by_rows(round) {
        let tokens = dx.rows().len();
        let tasks = dx.by_rows(tokens.div_ceil(PARTS)).zip(parts.chunks_exact_mut(sums));
        let cost = (inputs * outputs / 25).saturating_mul(tokens);
        let space = || pass.space();
        exec.for_each_with(cost, tasks, space, |space, (mut dx, sums)| pass.part(space, &mut dx, sums, exec))?;
    }
    let mut total = zeros(sums)?;
    sums::columns(&parts, PARTS, sums, &mut total, exec)?;
    let (of_weight, of_bias) = total.split_at(weight.len());
    dweight.copy_from_slice(of_weight);
    if let Some(dbias) = dbias {
        dbias.copy_from_slice(of_bias);
    }
    Ok(())
}

struct Pass<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    weight: &'a [T],
    d: &'a Dims,
}

struct Space<T> {
    /// The weight, and x of a block, in panels of inputs; where these panels start.
    weight: Buffer<T>,
    x: Buffer<T>,
    starts: [Vec<usize>; 2],
    /// dyᵀ of a block, and some rows of dy.
    turned: Buffer<T>,
    rows: Buffer<T>,
}

impl<T: Real> Pass<'_, T> {
    fn space(&self) -> Result<Space<T>, Error> {
        let Dims { inputs, outputs, .. } = *self.d;
        let panels = inputs.div_ceil(PANEL);
        Ok(Space {
            weight: zeros(panels * PANEL * outputs)?,
            x: zeros(panels * PANEL * DEPTH)?,
            starts: [reserved(panels)?, reserved(panels)?],
            turned: zeros(outputs * PITCH)?,
            rows: zeros(MAX_ROWS * PITCH)?,
        })
    }

    /// dx of some tokens; what they add to dweight and dbias goes to `sums`.
    fn part(&self, space: &mut Space<T>, dx: &mut Share<T>, sums: &mut [T], exec: &Exec) {
        let Dims { tokens, inputs, outputs, map } = *self.d;
        let (panels, tile) = (inputs.div_ceil(PANEL), tile_rows(exec));
        let (dweight, dbias) = sums.split_at_mut(outputs * inputs);
        let mut dweight = Share::new(dweight, 1, outputs, inputs);
        let Space { weight, x: block_x, starts: [of_weight, of_x], turned, rows } = space;
        let (turned, _) = turned.as_chunks_mut::<PITCH>();
        let (rows, _) = rows.as_chunks_mut::<PITCH>();
        Matrix::Rows(self.weight).pack(0..outputs, 0..inputs, (outputs, inputs), weight, exec);
        place(of_weight, panels, outputs);
        let height = map.unwrap_or(tokens);
        for block in blocks(dx.rows(), height) {
            let depth = block.len();
            let image = block.start / height;
            let own_dy = &self.dy[image * height * outputs..][..height * outputs];
            let (dy_by_output, dy_by_token) = match map {
                None => (Matrix::Columns(own_dy), Matrix::Rows(own_dy)),
                Some(_) => (Matrix::Rows(own_dy), Matrix::Columns(own_dy)),
            };
            let inside = block.start - image * height..block.end - image * height;
            dy_by_output.tile(0..outputs, inside.clone(), (outputs, height), turned, exec);
            exec.run(RowSums { rows: turned, n: depth, to: dbias }); // (B1)
            Matrix::Rows(self.x).pack(block.clone(), 0..inputs, (tokens, inputs), block_x, exec);
            place(of_x, panels, depth);
            for own in even(outputs, outputs.div_ceil(tile)) {
                exec.run(Tiles {
                    a: &turned[own.clone()],
                    depth,
                    b: Panels { data: block_x, starts: of_x, pitch: PANEL, run: depth, jump: 0 },
                    c: &mut dweight,
                    row: own.start,
                    columns: 0..inputs,
                    onto: Onto::C,
                    next: Ahead::NOTHING,
                }); // (B2)
            }
            let (next, count) = (self.after(&block), depth.div_ceil(tile));
            for (i, own) in even(depth, count).enumerate() {
                let at = inside.start + own.start..inside.start + own.end;
                dy_by_token.tile(at, 0..outputs, (height, outputs), rows, exec);
                exec.run(Tiles {
                    a: &rows[..own.len()],
                    depth: outputs,
                    b: Panels { data: weight, starts: of_weight, pitch: PANEL, run: outputs, jump: 0 },
                    c: dx,
                    row: block.start + own.start,
                    columns: 0..inputs,
                    onto: Onto::Nothing,
                    next: next.part(i, count),
                }); // (B3)
            }
        }
    }

    /// As many tokens as these, after them, of dy and x; of maps only dy, whose rows lie apart.
    fn after(&self, block: &Range<usize>) -> Ahead<'_, T> {
        let Dims { inputs, outputs, map, .. } = *self.d;
        if let Some(map) = map {
            let (image, inside) = (block.end / map, block.end % map);
            let dy = self.dy.get(image * map * outputs + inside..).unwrap_or(&[]);
            return Ahead::new([(dy, outputs), (&[], 0)], map, block.len().min(map - inside));
        }
        let end = block.end + block.len();
        let of = |x: &'_ [T], width: usize| block.end * width..(end * width).min(x.len());
        Ahead::all([&self.dy[of(self.dy, outputs)], &self.x[of(self.x, inputs)]])
    }
}

/// Tokens in blocks of at most [`DEPTH`] of one image, of each as equal as can be.
fn blocks(tokens: Range<usize>, height: usize) -> impl Iterator<Item = Range<usize>> {
    (tokens.start / height..tokens.end.div_ceil(height)).flat_map(move |image| {
        let (start, end) = (tokens.start.max(image * height), tokens.end.min((image + 1) * height));
        even(end - start, (end - start).div_ceil(DEPTH)).map(move |block| start + block.start..start + block.end)
    })
}

/// Where panels of so many rows start, one after the other.
fn place(starts: &mut Vec<usize>, panels: usize, rows: usize) {
    starts.clear();
    starts.extend((0..panels).map(|panel| panel * rows * PANEL));
}

/// Adds the sum of the first n of every row.
struct RowSums<'a, T> {
    rows: &'a [[T; PITCH]],
    n: usize,
    to: &'a mut [T],
}

impl<T: Real> Task for RowSums<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (row, to) in self.rows.iter().zip(self.to) {
            *to += lanes::sum::<T, I>(&row[..self.n]);
        }
    }
}
