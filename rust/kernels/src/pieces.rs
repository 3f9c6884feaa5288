//! Tasks that own several separate parts of one array.

use crate::error::Error;

/// Every plane of `plane` elements cut into pieces of `piece` (the last one shorter), in the order asked for. `order` names each piece
/// at most once, by its position in memory.
pub fn pieces<T>(
    data: &mut [T],
    plane: usize,
    piece: usize,
    order: impl Iterator<Item = usize>,
) -> Result<Vec<&mut [T]>, Error> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let count = data.len() / plane * plane.div_ceil(piece);
    let (mut in_memory, mut ordered) = (reserved(count)?, reserved(count)?);
    in_memory.extend(data.chunks_mut(plane).flat_map(|plane| plane.chunks_mut(piece)).map(Some));
    ordered.extend(order.filter_map(|index| in_memory[index].take()));
    Ok(ordered)
}

/// An empty list with room for `len` entries.
pub fn reserved<E>(len: usize) -> Result<Vec<E>, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(len).map_err(|_| Error::OutOfMemory)?;
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regrouped() {
        let mut x = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let rows = pieces(&mut x, 5, 2, [0, 3, 1, 4, 2, 5].into_iter()).unwrap();
        assert_eq!(rows, [&mut [0, 1][..], &mut [5, 6], &mut [2, 3], &mut [7, 8], &mut [4], &mut [9]]);
    }
}
