//! A table as kubectl prints one.

/// The rows, the first of which is the heading, with three spaces between the columns.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["NAME", "ID"], ["a-long-name", "1"], ["é", "22"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "NAME          ID\na-long-name   1\né             22\n");
    }
}
