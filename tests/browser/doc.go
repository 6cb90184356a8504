// Package browser tests the console's page in Chromium.
package browser
