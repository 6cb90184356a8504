// Package tools tests that the libraries which programs use on a *sql.DB work on a Cluster.
package tools
