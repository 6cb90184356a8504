// Package wrap tests how a Cluster made by ddb.Wrap routes, over mocked databases: they tell which statement went where.
package wrap
