//! Many rows in statements of few sizes.

/// Rows per statement: few sizes, so that each statement is prepared once and kept.
const ROWS: [usize; 4] = [64, 16, 4, 1];

/// Parts of these sizes, the largest first.
pub(super) fn parts<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = ROWS.into_iter().find(|size| *size <= rows.len())?;
        let (part, rest) = rows.split_at(size);
        rows = rest;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_written_in_parts_of_few_sizes_and_in_order() {
        for count in [0_usize, 1, 3, 4, 63, 64, 85, 300] {
            let rows: Vec<usize> = (0..count).collect();
            let parts: Vec<&[usize]> = parts(&rows).collect();
            assert!(parts.iter().all(|part| ROWS.contains(&part.len())), "{count}: {parts:?}");
            assert_eq!(parts.concat(), rows, "{count}");
        }
    }
}
