// Package bench measures a server that speaks the SDKs' wire, this one or
// another: it calls what an SDK calls and sends nothing that only Limpet knows.
//
// Workers and callers live in the measuring process and do no work of their
// own. They share connections, one stream carries the results of all runs, and
// a fixed pool reports on tasks, so that what is measured is the server; the
// figures say how much processor time went to either side.
package bench
