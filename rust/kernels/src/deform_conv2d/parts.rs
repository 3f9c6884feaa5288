//! How the backward cuts its work. All of it follows from the shapes alone: neither threads nor other images change a sum.

use std::ops::Range;

use super::{Block, Dims};
use crate::error::Error;
use crate::gemm::{DEPTH, PANEL, pieces};
use crate::pieces::reserved;
use crate::planes::product;

/// Channels of a task.
const MOST_CHANNELS: usize = 64;

/// Elements of dcol held at once, and the fewest pixels nevertheless.
const MOST_HELD: usize = 1 << 16;
const LEAST_PIXELS: usize = 112;

/// Elements of the framed maps of images that are handled together.
const MOST_FRAMED: usize = 1 << 17;

/// Multiply-adds of one task: about 10 ms.
const MOST_WORK: usize = 1 << 28;

/// The channels of a group that a task handles at once.
pub struct Part {
    pub block: Block,
    /// Columns of dcol, (taps, channels), in whole panels.
    pub columns: usize,
    /// Where its weights begin among those of the task, (outputs, columns) for every part.
    pub start: usize,
}

/// The channels of a task: some of one group, or all of some small groups.
pub struct Channels {
    pub all: Range<usize>,
    pub parts: Vec<Part>,
}

pub struct Cut {
    pub ranges: Vec<Channels>,
    /// Groups and channels of a group in each range.
    pub groups_each: usize,
    pub channels_each: usize,
    /// Images of a task, and how many of them are handled together: more than one only if their pixels are handled at once.
    pub images_each: usize,
    pub together: usize,
    /// Pixels handled at once, at most [`DEPTH`].
    pub pixels_each: usize,
    /// The most columns, weights and channels of a range.
    pub columns: usize,
    pub weights: usize,
    pub width: usize,
}

impl Cut {
    pub fn new(d: &Dims) -> Result<Cut, Error> {
        let ((inputs, outputs), groups, taps, pixels) = (d.per_group(), d.conv.groups, d.conv.taps(), d.pixels());
        let channels_each = inputs.div_ceil(inputs.div_ceil(MOST_CHANNELS)).next_multiple_of(PANEL).min(inputs);
        let groups_each = (MOST_CHANNELS / inputs).clamp(1, groups);
        let mut ranges = reserved(groups.div_ceil(groups_each) * inputs.div_ceil(channels_each))?;
        for groups in pieces(0..groups, groups_each) {
            for own in pieces(0..inputs, channels_each) {
                let columns = product(&[taps, own.len()])?.next_multiple_of(PANEL);
                let mut parts = reserved(groups.len())?;
                let of = |group: usize| group * inputs + own.start..group * inputs + own.end;
                for (k, group) in groups.clone().enumerate() {
                    let block = Block { group, channels: of(group) };
                    parts.push(Part { block, columns, start: product(&[k, outputs, columns])? });
                }
                ranges.push(Channels { all: of(groups.start).start..of(groups.end - 1).end, parts });
            }
        }
        let columns = product(&[taps, channels_each])?.next_multiple_of(PANEL);
        let (weights, width) = (product(&[outputs, columns, groups_each])?, channels_each * groups_each);
        let pixels_each = (MOST_HELD / columns).clamp(LEAST_PIXELS, DEPTH);
        let framed = product(&[d.framed(), width])?;
        Ok(Cut {
            ranges,
            groups_each,
            channels_each,
            images_each: (MOST_WORK / product(&[2, pixels, weights])?).clamp(1, d.conv.images),
            together: (pixels_each / pixels).min(MOST_FRAMED / framed).max(1),
            pixels_each,
            columns,
            weights,
            width,
        })
    }
}
