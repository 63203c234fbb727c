module github.com/difftest/difftest

go 1.26
