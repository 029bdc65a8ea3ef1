// Package lab breaks a cluster of real processes and judges what it kept.
//
// It starts nodes and workers, each in a network namespace of its own, plays
// clients, makes faults (kills, freezes, partitions, loss, delay, wrong clocks,
// full and failing disks), lets everything heal, and asks package check about the
// history. What workers executed is taken from files that they wrote themselves;
// what was decided, from journals of the log that all nodes wrote, replayed here.
package lab
