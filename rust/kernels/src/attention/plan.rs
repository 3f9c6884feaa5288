//! Which task takes which pairs of entry and head in the backward.

use super::Dims;
use crate::exec::Exec;

/// Who shares a bias: `owners` of a matrix of it, each with the `list` pairs that read it, cut into `groups` of one task each.
pub struct Plan {
    pub owners: usize,
    pub list: usize,
    pub groups: usize,
}

/// Tasks that one bias is cut into, if it has fewer matrices and tasks keep two pairs at least: each costs a sum, and a transpose of
/// the bias and of its gradient.
const TASKS: usize = 8;

impl Plan {
    pub fn new(d: &Dims) -> Plan {
        let Some((period, h)) = d.bias else {
            let several = Exec::batch(d.row_cost().saturating_mul(5 * d.queries / 2));
            return Plan { owners: 1, list: d.pairs, groups: d.pairs.div_ceil(several).max(1) };
        };
        let list = d.batch / period * if h == 1 { d.heads } else { 1 };
        Plan { owners: period * h, list, groups: (TASKS / (period * h).max(1)).min(list / 2).max(1) }
    }

    /// The pair at position `at` of an owner's list.
    pub fn pair(&self, d: &Dims, owner: usize, at: usize) -> usize {
        let Some((period, h)) = d.bias else { return at };
        let each = if h == 1 { d.heads } else { 1 };
        let (p, n) = if h == 1 { (owner, at % each) } else { (owner / h, owner % h) };
        (at / each * period + p) * d.heads + n
    }

    /// All pairs, task by task.
    pub fn order<'a>(&'a self, d: &'a Dims) -> impl Iterator<Item = usize> + 'a {
        (0..self.owners).flat_map(move |owner| (0..self.list).map(move |at| self.pair(d, owner, at)))
    }
}
