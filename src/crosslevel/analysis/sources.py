"""What the text of an analysis cites."""

REFERENCES = {
    "heisig": "Heisig, J. P., Schaeffer, M., & Giesecke, J. (2017). The costs of simplicity: Why multilevel models may "
    "benefit from accounting for cross-cluster differences in the effects of controls. American Sociological Review, "
    "82, 796-827.",
    "kenward": "Kenward, M. G., & Roger, J. H. (1997). Small sample inference for fixed effects from restricted "
    "maximum likelihood. Biometrics, 53, 983-997.",
    "pustejovsky": "Pustejovsky, J. E., & Tipton, E. (2018). Small-sample methods for cluster-robust variance "
    "estimation and hypothesis testing in fixed effects models. Journal of Business & Economic Statistics, 36, "
    "672-683.",
    "lewis": "Lewis, J. B., & Linzer, D. A. (2005). Estimating regression models in which the dependent variable is "
    "based on estimates. Political Analysis, 13, 345-364.",
    "esarey": "Esarey, J., & Sumner, J. L. (2018). Marginal effects in interaction models: Determining and controlling "
    "the false positive rate. Comparative Political Studies, 51, 1144-1176.",
}
"""References by the first author's name."""
