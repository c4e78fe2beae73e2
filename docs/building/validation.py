def page(folder):
    return "# Validation\n"
