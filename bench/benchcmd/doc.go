// Package benchcmd is the command `limpet bench`: flags, the choice of the target,
// and how results are shown.
package benchcmd
