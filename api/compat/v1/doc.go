// Package compatv1 is the part of the SDKs' wire that lives in the proto
// package v1: current workflow definitions, run details and durable tasks.
package compatv1
