# lme4 on one data set: Rscript lme4.R FORMULA FITS FOLDER, or Rscript lme4.R FORMULA start FILE.csv
# Prints one line: criterion, MB before, MB at the peak, then pairs of wall and CPU seconds.
suppressPackageStartupMessages(library(lme4))
args <- commandArgs(TRUE)
formula <- as.formula(args[1])

memory <- function(field) {
  if (!file.exists("/proc/self/status")) return(NaN)
  line <- grep(paste0("^", field, ":"), readLines("/proc/self/status"), value = TRUE)
  as.numeric(gsub("[^0-9]", "", line)) / 1024
}
load_data <- function(folder) {
  columns <- list()
  for (line in readLines(file.path(folder, "columns.tsv"))) {
    parts <- strsplit(line, "\t")[[1]]
    read <- function(what, suffix, size) {
      path <- file.path(folder, paste0(parts[1], suffix))
      readBin(path, what, n = file.size(path) / size, size = size, endian = "little")
    }
    columns[[parts[1]]] <- switch(parts[2],
      double = read("double", ".f8", 8),
      integer = read("integer", ".i4", 4),
      factor = factor(parts[-(1:2)][read("integer", ".i4", 4) + 1L], levels = parts[-(1:2)]))
  }
  as.data.frame(columns)
}

if (args[2] == "start") {
  data <- read.csv(args[3], colClasses = c(Subject = "character"))
  cat(format(-2 * as.numeric(logLik(lmer(formula, data))), digits = 15), "\n")
} else {
  fits <- as.integer(args[2])
  invisible(lmer(Reaction ~ Days + (Days | Subject), sleepstudy))
  data <- load_data(args[3])
  if (fits > 1) invisible(suppressWarnings(lmer(formula, data)))
  before <- memory("VmRSS")
  if (file.exists("/proc/self/clear_refs")) cat("5", file = "/proc/self/clear_refs")
  times <- numeric()
  for (i in seq_len(fits)) {
    t <- system.time(fit <- lmer(formula, data))
    times <- c(times, t[["elapsed"]], t[["user.self"]] + t[["sys.self"]])
  }
  cat(format(-2 * as.numeric(logLik(fit)), digits = 15), before, memory("VmHWM"), times, "\n")
}
