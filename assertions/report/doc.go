// Package report writes an iteration's verdicts in the forms that other tools read: JUnit for CI servers, SARIF 2.1.0 for
// code scanning, annotations and a step summary for GitHub, Markdown, TAP 14, and one HTML file for people.
//
// A report says what the verdicts say and nothing better: inconclusive, nodata and error are failures in every form that
// knows only good and bad, unless the run allowed them. Text from the wire is redacted before it comes here, and is escaped
// for each form.
package report
