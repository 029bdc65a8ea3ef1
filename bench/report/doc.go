// Package report turns the results of measurements into the tables and plots of
// the handbook.
package report
