// Package codec says how the values of a column travel: by which expression the server gives them without loss
// ([Column]), what receives them from the driver ([Reader], [Cell]), where the rows of a query wait while the
// connection does something else ([Spool]), and how they are written as SQL that the server stores
// as it is ([Column.AppendLiteral], [Insert]).
//
// It promises that what was read and is written again is the same bytes, whatever the session's and the driver's settings are,
// in the sessions that package sessions sets up. It knows columns, not tables, and sends only what it was given.
package codec
