// Package request holds the v3 API's requests and results as plain Go values
// together with their wire form, protobuf written by hand.
//
// Every request has three methods. Unmarshal merges bytes into the receiver
// by protobuf's rules: a repeated field appends, a singular submessage that
// occurs again merges, of a oneof the last arm wins, unknown fields and fields
// of an unexpected wire type are skipped, strings must be UTF-8. Byte fields
// alias the input, which therefore must not change while the request is in use.
// Append writes the canonical form (ascending fields, the arm of a
// oneof last, zeros omitted) and Size is its length. A decoded and appended request has lost its unknown
// fields; who forwards a request to the log wraps the client's own bytes with
// [AppendInternal] instead.
//
// Responses are only written, never read: AppendXxxResponse takes a header and
// a result, whose key-value records are stored bytes that are framed, not
// re-encoded. The exact size is computed first, so one call allocates at most
// once.
//
// Validation lives here as well, because it is a pure function of the request:
// the Validate methods make the API's checks in the API's order and return
// errors of package kverr.
package request
