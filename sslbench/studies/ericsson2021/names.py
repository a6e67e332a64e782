"""What the study compared, and on what, by the names that they have here."""

# In the order of its tables.
NETWORKS = (
    "insdis", "moco-v1", "pcl-v1", "pirl", "pcl-v2", "simclr-v1", "moco-v2", "simclr-v2", "sela-v2", "infomin", "byol",
    "deepcluster-v2", "swav", "supervised",
)  # fmt: skip
MANY_SHOT = ("aircraft", "caltech101", "cars", "cifar10", "cifar100", "dtd", "flowers", "food", "pets", "sun397")
CROSS_DOMAIN = ("cropdiseases", "eurosat", "isic", "chestx")
# Of each of these the study inverts one picture, and occludes it.
ANALYSED = (*MANY_SHOT, "voc2007", *CROSS_DOMAIN)
# Many-shot sets whose classes all have the 65 images that 50 shots and 15 queries take, as far as the study gives figures.
FIFTY_SHOT = ("aircraft", "cifar10", "cifar100", "dtd", "food", "pets", "sun397")
