//! Forward: the tiles of attention, with rows of the bias that all entries of the batch share.

use super::{Along, Dims, laid_out};
use crate::attention::Inputs;
use crate::attention::backward::first;
use crate::attention::forward::{Head, Scratch};
use crate::attention::parts;
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::MAX_ROWS;
use crate::pieces::pieces;
use crate::planes::require_len;
use crate::real::Real;

/// Queries whose rows of the bias fill a quarter of a cache of 1 MiB.
fn rows_of_a_piece<T>(d: &Dims) -> usize {
    let most = ((1 << 18) / (size_of::<T>() * d.tokens)).max(4 * MAX_ROWS);
    d.tokens.div_ceil(d.tokens.div_ceil(most))
}

struct Space<T> {
    attention: Scratch<T>,
    bias: Buffer<T>,
    /// Head and piece that `bias` belongs to.
    place: Option<usize>,
}

pub fn forward<T: Real>(
    inputs: Inputs<T>,
    table: &[T],
    o: &mut [T],
    lse: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    inputs.check_without_bias(&d.attention)?;
    require_len("o", o, d.o_shape().iter().product())?;
    require_len("lse", lse, d.lse_shape().iter().product())?;
    let table = laid_out(table, d, d.from_key)?;
    if lse.is_empty() {
        return Ok(());
    }
    let (n, rows) = (d.tokens, rows_of_a_piece::<T>(d));
    let count = n.div_ceil(rows);
    // Head by head, in a head piece by piece, in a piece entry by entry.
    let at_position = |k: usize| (k % d.batch * d.heads + k / d.batch / count, k / d.batch % count * rows);
    let order = || {
        let places = (0..d.heads * count).map(move |place| (place / count, place % count));
        places.flat_map(move |(head, piece)| (0..d.batch).map(move |b| (b * d.heads + head) * count + piece))
    };
    let mut o = pieces(o, n * d.width, rows * d.width, order())?;
    let mut lse = pieces(lse, n, rows, order())?;
    let (mut o, mut lse) = (&mut o[..], &mut lse[..]);
    let several = Exec::batch(d.attention.row_cost().saturating_mul(rows));
    let skip = exec.threads() * several; // threads take tasks in turns, if all goes evenly
    let tasks = (0..d.heads * count).flat_map(|place| parts(d.batch, several).map(move |entries| (place, entries)));
    let tasks = tasks.map(|(place, entries)| {
        let (o, lse) = (first(&mut o, entries.len()), first(&mut lse, entries.len()));
        (place, entries.start, o, lse)
    });
    let cost = d.attention.row_cost().saturating_mul(d.batch * d.heads * n);
    let table = &table[..];
    let space =
        || Ok(Space { attention: Scratch::new(&d.attention, rows)?, bias: zeros(rows * n)?, place: None::<usize> });
    exec.for_each_with(cost, tasks, space, |space, (place, b, o, lse)| {
        let (head, start) = (place / count, place % count * rows);
        let own = rows.min(n - start);
        if space.place != Some(place) {
            let table = &table[head * d.entries..][..d.entries];
            exec.run(Along { table, first: start, rows: &mut space.bias[..own * n], pitch: n, d }); // (F1)
            space.place = Some(place);
        }
        let (bias, mut o, entries) = (Some(&space.bias[..own * n]), o.iter_mut(), lse.len());
        for (i, lse) in lse.iter_mut().enumerate() {
            let o = o.next().map_or(&mut [][..], |o| o);
            let next = at_position(place * d.batch + b + if i + 1 < entries { i + 1 } else { skip });
            // (F2) (F3) (F4) (F5) (F6)
            let (pair, first) = ((b + i) * d.heads + head, start);
            Head { inputs, bias, d: &d.attention, pair, first, o, lse, next }.run(&mut space.attention, exec);
        }
    })
}
