// Package lint holds the laws of this repository that need nothing but the Go
// toolchain: purity of the replicated parts, the star of imports, sizes, words
// and the links of the documents. Every law is a test over the repository, and
// beside it a test that plants faults and expects them to be found.
package lint
