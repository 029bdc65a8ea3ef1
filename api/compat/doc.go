// Package compat is the wire that the published SDKs speak: the services
// without a proto package. Its .proto files are our own text; facts.json says
// which names and numbers they must have.
package compat
