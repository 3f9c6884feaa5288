//! The backward in one pass over x and dy, and in training a second over x and dx.
//!
//! * A task takes a part of the columns (pixels counted through all images) and a block of groups, tile by tile: da = proj1_weightᵀ·dy,
//!   then x̂, a and du row by row, then dy·aᵀ, Σ du, Σ du·x̂, Σ du·x and dx as if the statistics did not depend on x. The sums of the
//!   parts are added in order.
//! * In training de = weight·(du − Σ du/n − x̂·Σ du·x̂/n)/√(var + eps), where x̂ is linear in x. So what is missing in dx is linear in x, a small
//!   matrix for each group, and the sums for dproj0_weight follow from those above and from Σ x·x.

mod correct;
mod layout;
mod pass;
mod row;

use self::correct::correct;
use self::layout::{Layout, Sums};
use self::pass::{Own, Pass};
use super::fused::{Fold, sampled};
use super::{Arguments, Dims, Gradients, parts};
use crate::error::Error;
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::Share;
use crate::pieces::reserved;
use crate::real::{Real, finite};
use crate::sums;

pub fn backward<T: Real>(
    dy: &[T],
    a: &Arguments<&[T]>,
    (mean, var): (&[T], &[T]),
    mut g: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let layout = Layout::new(d);
    let fold = Fold::new(a, sampled(a.x, d, exec)?, mean, var, d)?;
    let mut back = zeros(fold.weight.len())?;
    for (t, (to, &weight)) in back.iter_mut().zip(&*fold.weight).enumerate() {
        *to = a.bn_weight[t / d.heads] * weight;
    }
    let pass = Pass { dy, a, fold: &fold, back: &back, layout: &layout, d };
    let mut found = zeros(layout.parts * layout.part_sums)?;
    let tasks = tasks(g.x, &mut found, &layout, d)?;
    let cost = (d.images * d.pixels()).saturating_mul(2 * d.expanded * d.outputs / 50 + d.expanded * (4 + d.heads / 4));
    exec.for_each_with(cost, tasks.into_iter(), || pass.space(), |space, mut own| pass.run(space, &mut own, exec))?;
    let mut s = found;
    if layout.parts > 1 {
        let mut total = zeros(layout.part_sums)?;
        sums::columns(&s, layout.parts, layout.part_sums, &mut total, exec)?;
        s = total;
    }
    if d.training && !finite(&s) {
        return parts::backward(dy, a, (mean, var), g, d, exec); // what is infinite must meet what it meets there
    }
    let correction = finish(a, &fold, &mut s, &layout, &mut g, d)?;
    if d.training { correct(a.x, &fold.shift, &correction, g.x, d, exec) } else { Ok(()) }
}

/// A task for each part of the columns and block of groups. Channel t·M + i of dx belongs to head t and group i.
fn tasks<'a, T: Real>(
    dx: &'a mut [T],
    found: &'a mut [T],
    layout: &Layout,
    d: &'a Dims,
) -> Result<Vec<Own<'a, T>>, Error> {
    let mut tasks = reserved(layout.parts * d.groups.div_ceil(layout.block))?;
    let columns = Share::new(dx, d.images, d.channels, d.pixels()).by_columns(layout.part);
    for (dx, found) in columns.zip(found.chunks_exact_mut(layout.part_sums)) {
        let first = tasks.len();
        let (found, dy) = found.split_at_mut(layout.all_blocks);
        for sums in layout.blocks(found, d) {
            tasks.push(Own { dx: reserved(d.heads)?, sums, dy: None });
        }
        tasks[first].dy = Some(dy);
        for head in dx.by_rows(d.groups) {
            for (task, dx) in tasks[first..].iter_mut().zip(head.by_rows(layout.block)) {
                task.dx.push(dx);
            }
        }
    }
    Ok(tasks)
}

/// All gradients but dx from the sums. In training also what is missing in dx: for each group and head t the numbers k_t and K_ts of
/// dx_t −= k_t + Σ_s K_ts·x_s.
fn finish<T: Real>(
    a: &Arguments<&[T]>,
    fold: &Fold<T>,
    s: &mut [T],
    layout: &Layout,
    g: &mut Gradients<T>,
    d: &Dims,
) -> Result<Buffer<T>, Error> {
    let (heads, wide, n) = (d.heads, 1 + d.heads, T::from_usize(d.images * d.pixels()));
    let mut correction = zeros(d.channels * wide)?;
    g.proj1_bias.copy_from_slice(&s[layout.all_blocks..]);
    for Sums { groups, product, du, du_hat, du_x, xx } in layout.blocks(s, d) {
        let first = groups.start * d.rows();
        for (o, row) in g.proj1_weight.chunks_exact_mut(d.expanded).enumerate() {
            for (to, column) in row[first..].iter_mut().zip(product.chunks_exact(d.outputs)) {
                *to = column[o];
            }
        }
        g.bn_bias[first..first + du.len()].copy_from_slice(du);
        g.bn_weight[first..first + du.len()].copy_from_slice(du_hat);
        for r in first..first + du.len() {
            let (group, scale) = (r / d.rows(), a.bn_weight[r] * fold.inverse[r]);
            let weight = &fold.weight[r * heads..][..heads];
            let (du, du_x) = (g.bn_bias[r], &du_x[(r - first) * heads..][..heads]);
            let dw0 = &mut g.proj0_weight[r * heads..][..heads];
            if !d.training {
                g.proj0_bias[r] = scale * du; // (B4)
                for (to, &from) in dw0.iter_mut().zip(du_x) {
                    *to = scale * from;
                }
                continue;
            }
            // Σ x and Σ x_t·x_s, of which t >= s is stored.
            let xx = &xx[(group - groups.start) * heads * wide..][..heads * wide];
            let pair = |t: usize, s: usize| xx[t.max(s) * wide + 1 + t.min(s)];
            let (mean, slope) = (du / n, g.bn_weight[r] / n);
            let mut hat = n * fold.offset[r]; // Σ x̂
            for t in 0..heads {
                hat += weight[t] * xx[t * wide];
            }
            g.proj0_bias[r] = scale * (du - mean * n - slope * hat); // (B4)
            for t in 0..heads {
                let mut hat_x = fold.offset[r] * xx[t * wide]; // Σ x̂·x
                for s in 0..heads {
                    hat_x += weight[s] * pair(t, s);
                }
                dw0[t] = scale * (du_x[t] - mean * xx[t * wide] - slope * hat_x); // (B3) (B4)
                let factor = a.bn_weight[r] * weight[t];
                let to = &mut correction[(group * heads + t) * wide..][..wide];
                to[0] += factor * (mean + slope * fold.offset[r]);
                for s in 0..heads {
                    to[1 + s] += factor * slope * weight[s];
                }
            }
        }
    }
    if let Some((dmean, dvar)) = &mut g.running {
        for r in 0..d.expanded {
            let scale = fold.inverse[r] * a.bn_weight[r];
            dmean[r] = -(scale * g.bn_bias[r]);
            dvar[r] = T::from_f64(-0.5) * (fold.inverse[r] * scale * g.bn_weight[r]);
        }
    }
    Ok(correction)
}
