// Package columns evaluates a [filter.Predicate] over the columns of a Parquet file of calls.
//
// It reads row group by row group, of each only the columns that are asked for, and of those only while rows are left that the rest of
// the filter could still change. A text column with a dictionary is asked once per distinct value, a number column whose bounds in
// the group lie outside of what passes is not read at all. What a predicate cannot say comes back as rows that may match; the caller
// asks [filter.Filter.Match] about these, and about nothing else.
// Classes tell rows of such a file apart by what some of their columns hold.
//
// Outlines of footers, footers and pages are read here; a library unpacks the values in them. Where all values of a page or a column are equal, as most are in
// most columns, nothing is unpacked. Files have only columns that are required and stand at the top, as the store writes them.
//
// Memory is bounded by the columns of the row groups at work, one for each processor.
package columns
