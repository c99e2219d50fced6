// Package retries finds the attempts that belong to one logical request and says how their client backed off.
package retries
